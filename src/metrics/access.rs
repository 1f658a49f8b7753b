//! Who was let in.

use metrics::counter;

use super::label::{AccessOutcome, Loaded};

/// A request was decided on, where there is anything that keeps clients out.
pub fn access(result: AccessOutcome) {
    counter!("forebay_access_total", "result" => result.as_str()).increment(1);
}

/// A password was checked against its hash.
pub fn password_check() {
    counter!("forebay_password_checks_total").increment(1);
}

/// A file of passwords or tokens was read again.
pub fn access_file(result: Loaded) {
    counter!("forebay_access_files_total", "result" => result.as_str()).increment(1);
}
