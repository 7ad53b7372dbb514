"""The generated stubs of the contracts.

A regular package on purpose: were it a namespace package, any folder named `tale` beside a caller's script (a clone of
this repository, say) would become a part of it.
"""
