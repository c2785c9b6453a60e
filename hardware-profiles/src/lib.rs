//! Accelerators, models, instance types and cold starts, each figure with its basis and source.
