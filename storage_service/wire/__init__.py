"""The RPCs of storage: requests validated, stored records as messages."""
