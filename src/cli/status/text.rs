//! A mirror's status for people: what is wrong first, then the figures. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::table::{Align, Table};
use crate::cli::marks::{Mark, Marks};
use crate::status::words::{bytes, count, duration, some, within};
use crate::status::{Cache, Clients, Finding, Gravity, Limit, Quota, State, Status, Upstream};

/// All of it, of the mirror at `at`.
pub(super) fn of(status: &Status, at: &str, marks: Marks) -> String {
    let mut text = headline(status, at);
    text.push_str(&findings(&status.findings(), marks));
    if let Some(cache) = &status.cache {
        let _ = write!(
            text,
            "\ncache    {}\nfills    {} running\n",
            self::cache(cache),
            count(status.fills.running)
        );
    }
    text.push_str(&clients(&status.clients));
    let quotas = quotas(&status.upstreams);
    let upstreams = upstreams(&status.upstreams);
    for table in [quotas, upstreams] {
        if !table.is_empty() {
            text.push('\n');
            text.push_str(&table);
        }
    }
    text
}

fn headline(status: &Status, at: &str) -> String {
    let state = match status.state {
        State::Starting => "starting",
        State::Serving => "serving",
        State::Draining => "stopping",
    };
    let uptime = duration(status.uptime_seconds);
    let version = printable(&status.version);
    format!("forebay {version} at {at}, {state} for {uptime}\n")
}

fn findings(findings: &[Finding], marks: Marks) -> String {
    let mut text = String::new();
    if findings.is_empty() {
        let _ = writeln!(text, "  {}  nothing is wrong", marks.of(Mark::Good).0);
    }
    let about = findings.iter().map(|finding| finding.about.chars().count());
    let width = about.max().unwrap_or_default().max("change".len());
    for finding in findings {
        let (mark, pad) = marks.of(match finding.gravity {
            Gravity::Wrong => Mark::Wrong,
            Gravity::Note => Mark::Note,
        });
        let (about, seen) = (printable(&finding.about), printable(&finding.seen));
        let _ = writeln!(text, "  {mark}  {about:<width$}  {seen}");
        if let Some(change) = finding.change.as_deref().map(printable) {
            let _ = writeln!(text, "  {:pad$}  {:<width$}  {change}", "", "change");
        }
    }
    text
}

fn cache(cache: &Cache) -> String {
    let mut text = format!(
        "{} of {}, {}",
        bytes(cache.bytes),
        bytes(cache.limit_bytes),
        some(cache.blobs, "blob", "blobs")
    );
    if cache.evictions > 0 {
        let evicted = count(cache.evictions);
        let size = bytes(cache.evicted_bytes);
        let _ = write!(text, "; {evicted} evicted since the start ({size})");
    }
    text
}

/// Nothing where no client was ever held back.
fn clients(clients: &Clients) -> String {
    let sum = |of: &BTreeMap<String, u64>| of.values().sum::<u64>();
    let (delayed, refused) = (sum(&clients.delayed), sum(&clients.refused));
    if delayed + refused == 0 {
        return String::new();
    }
    format!(
        "clients  {} limited; since the start {} delayed ({}), {} refused ({})\n",
        count(clients.tracked),
        count(delayed),
        parts(&clients.delayed),
        count(refused),
        parts(&clients.refused)
    )
}

/// What there is of each, as in `7 quota, 2 slow`.
fn parts(of: &BTreeMap<String, u64>) -> String {
    let some: Vec<_> = of
        .iter()
        .filter(|(_, number)| **number > 0)
        .map(|(name, number)| {
            let name = name.strip_prefix("upstream-").unwrap_or(name);
            format!("{} {}", count(*number), name.replace('_', " "))
        })
        .collect();
    if some.is_empty() {
        "-".to_owned()
    } else {
        some.join(", ")
    }
}

fn quotas(upstreams: &[Upstream]) -> String {
    let mut table = Table::new([
        ("quota", Align::Left),
        ("counted for", Align::Left),
        ("left", Align::Left),
        ("window", Align::Left),
        ("resets", Align::Left),
        ("waiting", Align::Right),
    ]);
    let all = upstreams.iter().flat_map(|upstream| &upstream.quotas);
    for quota in all {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        table.row([
            printable(&quota.place()),
            printable(&counted_for(quota)),
            or_none(left(quota)),
            or_none(quota.window_seconds.map(duration)),
            resets(quota),
            count(quota.waiting),
        ]);
    }
    if table.is_empty() {
        return String::new();
    }
    let mut text = table.print();
    let left_out: u64 = upstreams
        .iter()
        .map(|upstream| upstream.quotas_left_out)
        .sum();
    if left_out > 0 {
        let _ = writeln!(
            text,
            "and {} with more left",
            some(left_out, "other", "others")
        );
    }
    text
}

fn counted_for(quota: &Quota) -> String {
    match (quota.by, &quota.source, &quota.account) {
        (Some(Limit::Configured), ..) => "`quota` of its table".to_owned(),
        (_, Some(source), _) => source.clone(),
        (_, None, Some(account)) => account.clone(),
        _ => "-".to_owned(),
    }
}

fn left(quota: &Quota) -> Option<String> {
    let left = u64::try_from(quota.left?).unwrap_or(0);
    Some(format!("{} of {}", count(left), count(quota.limit?)))
}

fn resets(quota: &Quota) -> String {
    if let Some(seconds) = quota.closed_for_seconds {
        return format!(
            "closed, asked again {}",
            within(seconds, quota.closed_until)
        );
    }
    match quota.resets_in_seconds {
        Some(seconds) => within(seconds, quota.resets_at),
        None => "-".to_owned(),
    }
}

fn upstreams(upstreams: &[Upstream]) -> String {
    let mut table = Table::new([
        ("upstream", Align::Left),
        ("pulls asked", Align::Right),
        ("clients' pulls", Align::Right),
        ("received", Align::Right),
        ("served", Align::Right),
        ("saved", Align::Right),
        ("failed", Align::Right),
        ("stale", Align::Left),
        ("refused", Align::Left),
    ]);
    let (used, unused): (Vec<_>, Vec<_>) = upstreams.iter().partition(|one| is_used(one));
    for upstream in used {
        let Upstream { asked, served, .. } = upstream;
        table.row([
            printable(&upstream.name),
            count(asked.pulls),
            count(served.pulls),
            bytes(asked.bytes),
            bytes(served.bytes),
            share(upstream.saved.bytes, served.bytes),
            count(asked.failed),
            parts(&upstream.stale),
            parts(&upstream.refused),
        ]);
    }
    let mut text = if table.is_empty() {
        String::new()
    } else {
        table.print()
    };
    if !unused.is_empty() {
        let names: Vec<_> = unused
            .iter()
            .map(|upstream| upstream.name.as_str())
            .collect();
        let names = printable(&names.join(", "));
        let _ = writeln!(text, "nothing was asked of: {names}");
    }
    text
}

/// Whether anything was asked of it, or given out.
fn is_used(upstream: &Upstream) -> bool {
    let figures = [
        upstream.asked.requests,
        upstream.served.requests,
        upstream.stale.values().sum(),
        upstream.refused.values().sum(),
    ];
    figures.into_iter().any(|figure| figure > 0)
}

/// In whole percents, rounded down: what is not all is not called so.
fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    format!("{} %", u128::from(part) * 100 / u128::from(whole))
}

/// Without what a terminal would obey: hosts, sources and errors are in others' words.
fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '?' } else { c };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests;
