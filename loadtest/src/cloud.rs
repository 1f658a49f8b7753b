//! Stand-ins for the clouds' own services from which registries' logins come: what each checks of a request is what its
//! documentation says that the real one checks.

mod aws;
mod azure;
mod google;
mod server;

pub use aws::{Aws, Key};
pub use azure::Azure;
pub use google::Google;
