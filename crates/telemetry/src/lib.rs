//! What is measured beside the client: host, processes, the generator itself
