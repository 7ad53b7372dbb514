-- What requests asked for is forgotten with what they made.
UPDATE requests SET fingerprint = zeroblob(32) WHERE resource_id IN (SELECT resource_id FROM tombstones);

UPDATE housekeeping SET removed_count = removed_count + 1 WHERE EXISTS (SELECT 1 FROM tombstones);
