//! What hostile or absent peers make of it.
