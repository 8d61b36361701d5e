//! Every check at its limits, and what the verdict makes of them.
