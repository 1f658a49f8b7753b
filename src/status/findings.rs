//! What is wrong with a mirror now, and what will be soon, as its status tells. Pure.

use super::words::{count, duration, some, within};
use super::{
    AccessFile, Breaker, Cache, Certificate, Configuration, Host, Limit, Quota, State, Status,
    Upstream,
};

/// Before a certificate ends, that is told for so many seconds.
const ENDS_SOON: u64 = 14 * 86_400;

/// Something that an operator wants to know before all figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub gravity: Gravity,
    /// The upstream that it is about, or a part of the mirror.
    pub about: String,
    /// What there is.
    pub seen: String,
    /// What to do about it, where there is something to do.
    pub change: Option<String>,
}

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gravity {
    /// Clients are refused, or wait, or are given what is old.
    Wrong,
    /// It may come to that.
    Note,
}

impl Status {
    /// What is wrong now, and then what may be soon.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings: Vec<_> = self.state.finding().into_iter().collect();
        findings.extend(self.cache.iter().flat_map(Cache::findings));
        findings.extend(self.configuration.iter().flat_map(Configuration::findings));
        let certificates = self.certificates.iter();
        findings.extend(certificates.flat_map(|certificate| certificate.findings(self.at)));
        let files = self.access_files.iter();
        findings.extend(files.map(|file| file.finding(self.at)));
        for upstream in &self.upstreams {
            findings.extend(
                upstream
                    .hosts
                    .iter()
                    .filter_map(|host| host.finding(upstream)),
            );
            findings.extend(
                upstream
                    .quotas
                    .iter()
                    .filter_map(|quota| quota.finding(upstream)),
            );
        }
        findings.sort_by_key(|finding| finding.gravity);
        findings
    }

    /// Whether anything is wrong now.
    pub fn is_wrong(&self) -> bool {
        let findings = self.findings();
        findings
            .iter()
            .any(|finding| finding.gravity == Gravity::Wrong)
    }
}

fn wrong(about: &str, seen: String) -> Finding {
    Finding {
        gravity: Gravity::Wrong,
        about: about.to_owned(),
        seen,
        change: None,
    }
}

impl Finding {
    fn change(self, change: impl Into<String>) -> Self {
        Self {
            change: Some(change.into()),
            ..self
        }
    }

    fn only_a_note(self) -> Self {
        Self {
            gravity: Gravity::Note,
            ..self
        }
    }
}

impl State {
    fn finding(self) -> Option<Finding> {
        match self {
            Self::Serving => None,
            Self::Starting => {
                let seen = "it is starting: its cache is not open yet, and clients wait";
                let change = "another forebay that has the same `dir` in [cache] may not have ended yet; see the log";
                Some(wrong("mirror", seen.to_owned()).change(change))
            }
            Self::Draining => {
                let seen = "it is stopping: running transfers are finished, and no new ones begin";
                Some(wrong("mirror", seen.to_owned()))
            }
        }
    }
}

impl Cache {
    fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Some(error) = &self.error {
            let seen = format!("{error}: what is fetched is passed through and not kept");
            let change = "check the disk of `dir` in [cache]";
            findings.push(wrong("cache", seen).change(change));
        }
        let raise = "raise `max_size` in [cache], or check `min_free`";
        if self.guarded_evictions > 0 {
            let blobs = some(self.guarded_evictions, "blob", "blobs");
            let seen = format!(
                "it is too small: {blobs} of images that were served within the hour had to go since the start"
            );
            findings.push(wrong("cache", seen).change(raise).only_a_note());
        }
        if self.no_room > 0 {
            let seen = format!(
                "there was no room for what was fetched {} since the start",
                some(self.no_room, "time", "times")
            );
            findings.push(wrong("cache", seen).change(raise).only_a_note());
        }
        findings
    }
}

impl Configuration {
    fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Some(error) = &self.error {
            let seen =
                format!("it was read again and can't be used: {error}; the one before counts");
            let change = "`forebay check` says what is wrong; then send SIGHUP again";
            findings.push(wrong("config", seen).change(change));
        }
        if !self.needs_restart.is_empty() {
            let keys = self.needs_restart.join(", ");
            let seen = format!("these keys have changed, and do not count yet: {keys}");
            let change = "they count after a restart";
            findings.push(wrong("config", seen).change(change).only_a_note());
        }
        findings
    }
}

impl Certificate {
    fn findings(&self, now: u64) -> Vec<Finding> {
        let table = match self.listener.as_str() {
            "admin" => "[admin.tls]",
            _ => "[server.tls]",
        };
        let renew = format!("put a new certificate into the files of {table}");
        let mut findings = Vec::new();
        if let Some(error) = &self.error {
            let seen = format!("{error}; the files of before count");
            findings.push(wrong("tls", seen).change(renew.clone()));
        }
        match self.expires_at.checked_sub(now) {
            None | Some(0) => {
                let seen = format!("the certificate of {table} has ended: clients refuse it");
                findings.push(wrong("tls", seen).change(renew));
            }
            Some(left) if left <= ENDS_SOON => {
                let seen = format!("the certificate of {table} ends in {}", duration(left));
                findings.push(wrong("tls", seen).change(renew).only_a_note());
            }
            Some(_) => {}
        }
        findings
    }
}

impl AccessFile {
    fn finding(&self, now: u64) -> Finding {
        let since = duration(now.saturating_sub(self.since));
        let seen = format!("{}; for {since} it has not counted as it is", self.error);
        let change = "mend it: logins that were taken out of it may count until then";
        wrong("access", seen).change(change)
    }
}

impl Host {
    fn finding(&self, upstream: &Upstream) -> Option<Finding> {
        let (gravity, what) = self.trouble()?;
        let error = self.error.as_ref();
        let why = error.map(|error| format!(" ({error})")).unwrap_or_default();
        let finding = wrong(&upstream.name, format!("{} {what}{why}", self.url));
        Some(match gravity {
            Gravity::Wrong => finding.change(self.advice(upstream)),
            Gravity::Note => finding.only_a_note(),
        })
    }

    /// Only a note where nobody is refused on account of it: the next request is sent.
    fn trouble(&self) -> Option<(Gravity, String)> {
        let (gravity, what) = match (self.breaker, self.next_attempt_in_seconds) {
            (Breaker::Closed, _) => return None,
            (Breaker::Open, Some(seconds)) if seconds > 0 => {
                let wait = duration(seconds);
                let what = format!("has kept failing, and is left alone for another {wait}");
                return Some((Gravity::Wrong, what));
            }
            (Breaker::Open, _) => (
                Gravity::Note,
                "kept failing when it was asked last, and is tried again with the next request",
            ),
            (Breaker::Trying, _) => (Gravity::Wrong, "has kept failing, and is being tried again"),
            (Breaker::Recovering, _) => (
                Gravity::Note,
                "had kept failing, answers again, and is asked by a few at a time",
            ),
        };
        Some((gravity, what.to_owned()))
    }

    fn advice(&self, upstream: &Upstream) -> String {
        let registry = match self.url.split_once("://") {
            Some((_, host)) if upstream.is_family => host,
            _ => &upstream.name,
        };
        if self.is_endpoint || !upstream.is_family {
            format!(
                "what is cached is served meanwhile; `forebay check --online {registry}` says more"
            )
        } else {
            "what is cached is served meanwhile; see the log".to_owned()
        }
    }
}

impl Quota {
    fn finding(&self, upstream: &Upstream) -> Option<Finding> {
        let waits = self.waits();
        let is_short = self.closed_for_seconds.is_some() || self.is_low();
        let seen = match (is_short, waits) {
            (true, Some(waits)) => format!("{}; {waits}", self.shortage()),
            (true, None) => self.shortage(),
            (false, Some(waits)) if self.under_way > 0 => {
                let under_way = some(self.under_way, "other is", "others are");
                format!("{waits}, while {under_way} under way")
            }
            (false, Some(waits)) => waits,
            (false, None) => return None,
        };
        let place = self.place();
        let seen = if place == upstream.name {
            seen
        } else {
            format!("{place}: {seen}")
        };
        let finding = wrong(&upstream.name, seen);
        let refuses = self.closed_for_seconds.is_some() || self.left.is_some_and(|left| left <= 0);
        Some(match is_short {
            // They wait to learn how much is left, or for what is under way: there is nothing to configure.
            false => finding,
            true if refuses || self.waiting > 0 => finding.change(&self.change),
            true => finding.change(&self.change).only_a_note(),
        })
    }

    fn waits(&self) -> Option<String> {
        let waiting = some(self.waiting, "request waits", "requests wait");
        (self.waiting > 0).then(|| format!("{waiting} for a pull"))
    }

    /// That it is closed, or near its end.
    fn shortage(&self) -> String {
        if let Some(seconds) = self.closed_for_seconds {
            let again = within(seconds, self.closed_until);
            return format!("has asked to be left alone (429), and is asked again {again}");
        }
        let left = match self.left.and_then(|left| u64::try_from(left).ok()) {
            Some(left) if left > 0 => format!("only {} left", some(left, "pull is", "pulls are")),
            _ => "no pull is left".to_owned(),
        };
        let limit = count(self.limit.unwrap_or_default());
        format!("{left} of {limit}{}", self.terms())
    }

    /// The registry, and which endpoint of it where that is not the first.
    pub fn place(&self) -> String {
        match &self.endpoint {
            Some(endpoint) => format!("{} at {endpoint}", self.registry),
            None => self.registry.clone(),
        }
    }

    /// Whether it is near its end: a tenth or less is left, which is kept for what is not here.
    pub fn is_low(&self) -> bool {
        let (Some(left), Some(limit)) = (self.left, self.limit) else {
            return false;
        };
        i128::from(left) * 10 <= i128::from(limit)
    }

    /// Window, whose it is, and when it renews.
    fn terms(&self) -> String {
        let window = self
            .window_seconds
            .map(|seconds| format!(" in {}", duration(seconds)));
        let whose = match (self.by, &self.source, &self.account) {
            (Some(Limit::Configured), _, _) => Some(", by `quota` of its table".to_owned()),
            (_, Some(source), _) => Some(format!(", counted for {source}")),
            (_, None, Some(account)) => Some(format!(", counted for {account}")),
            _ => None,
        };
        let reset = self.resets_in_seconds.map(|seconds| {
            let again = match self.by {
                Some(Limit::Configured) => "the next one is there",
                _ => "renewed",
            };
            format!(", {again} {}", within(seconds, self.resets_at))
        });
        [window, whose, reset].into_iter().flatten().collect()
    }
}
