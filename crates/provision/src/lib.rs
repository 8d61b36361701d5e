//! Starts, stops and inspects servers
