//! What an attempt has cost at the upstream's quota.

use std::sync::Mutex;

use http::StatusCode;
use reqwest::Response;

use crate::sync::lock;
use crate::upstream::quota::QuotaReport;

/// What an attempt has cost at the upstream's quota, as far as its answers tell.
#[derive(Debug, Default)]
pub(crate) struct Trace(Mutex<Traced>);

/// As [`Trace`], at some moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Traced {
    /// What the last answer reports.
    pub(crate) report: Option<QuotaReport>,
    /// Whether the upstream may have counted something.
    pub(crate) counted: bool,
    /// Whether it has refused for load.
    pub(crate) refused: bool,
}

impl Traced {
    /// What is not there, or not for this login, is not counted.
    pub(super) fn hear(&mut self, response: &Response) {
        let status = response.status();
        self.counted = !status.is_client_error();
        self.refused = status == StatusCode::TOO_MANY_REQUESTS;
        if let Some(report) = QuotaReport::from_headers(response.headers()) {
            self.report = Some(report);
        }
    }
}

impl Trace {
    pub(crate) fn so_far(&self) -> Traced {
        lock(&self.0).clone()
    }

    pub(super) fn note(&self, change: impl FnOnce(&mut Traced)) {
        change(&mut lock(&self.0));
    }
}
