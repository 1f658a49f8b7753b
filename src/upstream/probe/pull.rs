//! Whether images may be pulled, and how many: HEAD of a manifest, which costs no quota.

use tokio::time::timeout;

use super::{Finding, Image, Probe, Step};
use crate::config::Credentials;
use crate::upstream::error::{ErrorKind, UpstreamError, printable};
use crate::upstream::exchange::{Exchange, Trace};
use crate::upstream::manifest::{ManifestHead, head_of, question};
use crate::upstream::quota::{self, Allowance, QuotaReport};

impl Probe<'_> {
    /// Asks for the images, or where there are none for what the registry has to tell its quota.
    pub(super) async fn pull(&self) -> Vec<Finding> {
        let trace = Trace::default();
        let mut findings = Vec::new();
        for image in self.images {
            findings.push(self.image(image, &trace).await);
        }
        if self.images.is_empty()
            && let Some((name, reference)) = quota::told_of(self.upstream.registry())
        {
            let image = Image { name, reference };
            findings.extend(self.sample(&image, &trace).await);
        }
        if let Some(report) = trace.so_far().report {
            let mut quota = self.quota(&report);
            let said = findings.iter().any(|said| said.change == quota.change);
            quota.change = quota.change.filter(|_| !said);
            findings.push(quota);
        }
        findings
    }

    async fn image(&self, image: &Image, trace: &Trace) -> Finding {
        if let Some(key) = self.upstream.refusal(&image.name) {
            let seen =
                format!("{image} may not be pulled through this mirror: `{key}` keeps it out");
            return Finding::wrong(Step::Image, seen)
                .change(format!("change `{key}`, if it is to be pulled"));
        }
        let error = match self.head(image, trace).await {
            Ok(ManifestHead { access: None, .. }) => {
                let seen =
                    format!("{image}: the registry answers no HEAD, so that only a pull can tell");
                return Finding::note(Step::Image, seen);
            }
            Ok(ManifestHead { digest, .. }) => {
                let digest = digest.map_or(String::new(), |digest| format!(", {digest}"));
                return Finding::good(Step::Image, format!("{image} may be pulled{digest}"));
            }
            Err(error) => error,
        };
        if let Some(found) = self.without_login(image, &error) {
            return found;
        }
        let seen = format!("{image}: {}", self.told(&error));
        Finding::wrong(Step::Image, seen).change_after(&error, self.image_advice(&error))
    }

    /// An image that is there for its headers only. That an endpoint which is not the registry's own lacks it is no mistake.
    async fn sample(&self, image: &Image, trace: &Trace) -> Option<Finding> {
        match self.head(image, trace).await {
            Ok(_) if trace.so_far().report.is_some() => None,
            Ok(_) => Some(Finding::good(Step::Quota, "no limit is reported")),
            // The report says it better.
            Err(_) if trace.so_far().report.as_ref().is_some_and(is_used_up) => None,
            Err(error) if error.kind() == ErrorKind::TooManyRequests => {
                let seen = self.told(&error);
                Some(self.used_up(seen))
            }
            Err(error) => {
                let seen = format!("not known: HEAD of {image}: {}", self.told(&error));
                Some(Finding::note(Step::Quota, seen))
            }
        }
    }

    /// HEAD of a manifest, once, the way that a pull asks.
    async fn head(&self, image: &Image, trace: &Trace) -> Result<ManifestHead, UpstreamError> {
        let exchange = Exchange {
            transport: self.upstream.transport(),
            auth: self.upstream.auth(),
            endpoint: self.endpoint,
            trace,
        };
        let question = question(http::Method::HEAD, &image.name, &image.reference);
        let patience = self.upstream.patience();
        let answer = timeout(patience, exchange.run(&question)).await;
        match answer.unwrap_or_else(|_| Err(self.upstream.too_slow(patience))) {
            Ok(answer) => Ok(head_of(&answer)),
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(ManifestHead::default()),
            Err(error) => Err(error),
        }
    }

    fn image_advice(&self, error: &UpstreamError) -> &'static str {
        let is_anonymous = self.settings.credentials == Credentials::None;
        match error.kind() {
            ErrorKind::NotFound { .. } if is_anonymous => {
                "see that name and tag are right; if it is private, set `username` and `password_file`, or `credentials`"
            }
            ErrorKind::NotFound { .. } => {
                "see that name and tag are right, and that the login may read it: some registries hide what it may not"
            }
            ErrorKind::Unauthorized | ErrorKind::Denied if is_anonymous => {
                "nobody may pull it without a login, or it does not exist: set `username` and `password_file`, or \
                 `credentials`"
            }
            ErrorKind::Unauthorized | ErrorKind::Denied => {
                "give this login the right to pull it at the registry, or see that the name is right"
            }
            ErrorKind::TooManyRequests => self.quota_advice(),
            ErrorKind::Policy => "this place is not one that forebay goes to",
            _ => {
                "the registry, or where it redirects to, is failing: try again, and see its own status page or log"
            }
        }
    }

    /// What is left.
    fn quota(&self, report: &QuotaReport) -> Finding {
        let seen = if self.is_for_clients() {
            format!("without a login: {}", told(report))
        } else {
            told(report)
        };
        if is_used_up(report) {
            self.used_up(seen)
        } else {
            Finding::good(Step::Quota, seen)
        }
    }

    /// No pull is left. Where each client logs in for itself, those who do have their own.
    fn used_up(&self, seen: String) -> Finding {
        let found = if self.is_for_clients() {
            Finding::note(Step::Quota, seen)
        } else {
            Finding::wrong(Step::Quota, seen)
        };
        found.change(self.quota_advice())
    }

    fn quota_advice(&self) -> &'static str {
        if self.settings.passthrough.is_some() {
            "have clients log in, since a login has a quota of its own; or wait, while what is cached is served"
        } else if self.settings.credentials == Credentials::None {
            "set `username` and `password_file`, since a login has a larger quota; or wait, while what is cached is served"
        } else {
            "wait, while what is cached is served; or use a login with a larger quota"
        }
    }
}

fn is_used_up(report: &QuotaReport) -> bool {
    matches!(report.remaining, Some(Allowance { count: ..1, .. }))
}

fn told(report: &QuotaReport) -> String {
    let QuotaReport {
        limit,
        remaining,
        source,
    } = report;
    let window = remaining.or(*limit).and_then(|allowance| allowance.window);
    let window = window.map_or(String::new(), |window| {
        format!(" in {}", window_of(window.as_secs()))
    });
    let mut told = match (remaining, limit) {
        (Some(left), Some(limit)) => {
            format!("{} of {} pulls{window} are left", left.count, limit.count)
        }
        (Some(left), None) => format!("{} pulls{window} are left", left.count),
        (None, limit) => {
            let count = limit.map_or(0, |limit| limit.count);
            format!("{count} pulls{window} are allowed")
        }
    };
    if let Some(source) = source {
        told = format!("{told}, counted for {}", printable(source));
    }
    told
}

/// A window in the unit in which it is a whole number.
fn window_of(seconds: u64) -> String {
    match seconds {
        _ if seconds > 0 && seconds.is_multiple_of(3600) => format!("{} h", seconds / 3600),
        _ if seconds > 0 && seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_quota_is_told_as_far_as_it_is_reported() {
        let six = Some(Duration::from_hours(6));
        let allowance = |count, window| Some(Allowance { count, window });
        for (limit, remaining, source, words) in [
            (
                allowance(100, six),
                allowance(20, six),
                Some("192.0.2.7"),
                "20 of 100 pulls in 6 h are left, counted for 192.0.2.7",
            ),
            (None, allowance(-3, None), None, "-3 pulls are left"),
            (
                allowance(7, Some(Duration::from_secs(90))),
                None,
                Some("a\n"),
                "7 pulls in 90 s are allowed, counted for a\\n",
            ),
        ] {
            let report = QuotaReport {
                limit,
                remaining,
                source: source.map(str::to_owned),
            };
            assert_eq!(told(&report), words);
        }
    }
}
