//! What clients that can't run here send, byte for byte, and what they have to get.
//!
//! Each module replays the requests of one family of clients as their own source sends them, cold and then warm, on the
//! real process. Compared are the whole head of each response, the bytes of each body, and what the upstream was asked
//! for. What a client makes of an answer stands where it decides something.

mod answer;
mod buildkit;
mod containerd;
mod crane;
mod dockerd;
mod k3s;
mod kaniko;
mod lazy;
mod oras;
mod pulls;
mod stage;
mod transcript;
