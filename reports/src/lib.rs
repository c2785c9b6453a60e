//! What people read of a record.
