//! `tag_rules` of an upstream: what some of its tags are trusted for, by what they are called.

use globset::{GlobBuilder, GlobMatcher};

use super::section::{Reported, Section};
use super::tags::{TagPolicy, rule_policy};
use super::tree::Node;
use super::values::{boolean, text};
use crate::oci::Tag;

/// Keys that say how long a tag is trusted once it is stored, which is forever where it is immutable.
const OF_MUTABLE: [&str; 4] = [
    "fresh_for",
    "stale_while_revalidate",
    "stale_for",
    "keep_deleted",
];

/// The rules of an upstream, in order. The first one that matches a tag says what it is trusted for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TagRules(Vec<TagRule>);

/// What tags of a pattern are trusted for.
#[derive(Clone, Debug, PartialEq)]
pub struct TagRule {
    /// Which tags.
    pub pattern: TagPattern,
    /// What holds for them; what the rule leaves out is its upstream's.
    pub policy: TagPolicy,
}

/// A glob over whole tags.
#[derive(Clone, Debug)]
pub struct TagPattern {
    text: String,
    matcher: GlobMatcher,
}

impl TagRules {
    /// What holds for a tag, if any rule says so. None makes a tag immutable that goes by a digest: what is attached to
    /// that is listed there, and moves with each signature.
    pub fn policy(&self, tag: &Tag) -> Option<TagPolicy> {
        let holds = |rule: &&TagRule| {
            rule.pattern.matches(tag) && !(rule.policy.immutable && goes_by_a_digest(tag))
        };
        Some(self.0.iter().find(holds)?.policy)
    }

    /// All of them.
    pub fn all(&self) -> &[TagRule] {
        &self.0
    }
}

impl TagPattern {
    /// The pattern as it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it matches the whole tag.
    pub fn matches(&self, tag: &Tag) -> bool {
        self.matcher.is_match(tag.as_str())
    }
}

impl PartialEq for TagPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// Whether it is a tag of the referrers tag schema, or one that cosign derives from it: `sha256-<hex>`, `sha256-<hex>.sig`.
fn goes_by_a_digest(tag: &Tag) -> bool {
    let hex = ["sha256-", "sha512-"].map(|algorithm| tag.as_str().strip_prefix(algorithm));
    hex.into_iter().flatten().any(|hex| {
        let hex = hex.as_bytes().get(..64);
        hex.is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
    })
}

/// Reads `tag_rules` of an upstream whose tags are `inherited` otherwise.
pub(super) fn read(
    section: &Section<'_>,
    inherited: Result<TagPolicy, Reported>,
) -> Result<TagRules, Reported> {
    // So that the keys are known where there is no rule.
    let _ = raw(&section.absent("tag_rules"), inherited);
    let mut rules: Vec<TagRule> = Vec::new();
    let mut reported = Ok(());
    for table in section.tables("tag_rules")? {
        let read = rule(&table, inherited).and_then(|rule| unless_shadowed(&table, &rules, rule));
        match read {
            Ok(rule) => rules.push(rule),
            Err(error) => reported = Err(error),
        }
    }
    reported.map(|()| TagRules(rules))
}

fn rule(table: &Section<'_>, inherited: Result<TagPolicy, Reported>) -> Result<TagRule, Reported> {
    let raw = raw(table, inherited);
    table.finish();
    let (pattern, policy) = raw?;
    let Some(pattern) = pattern else {
        let message =
            "it is not said which tags this is for: write `match`, such as match = \"v*.*.*\"";
        return Err(table.complain_of_all(message.into()));
    };
    let conflict = OF_MUTABLE.into_iter().find(|key| table.has(key));
    if let Some(key) = conflict.filter(|_| policy.immutable) {
        let message = "a tag that is `immutable` is never asked for again once it is stored, so that this can't \
                       count: take one of the two away";
        return Err(table.complain(key, message.into()));
    }
    if table.len() == 1 {
        let message = format!(
            "this says nothing of `{}`: write `fresh_for`, or another key of [tags], or immutable = true",
            pattern.text.escape_debug()
        );
        return Err(table.complain_of_all(message));
    }
    Ok(TagRule { pattern, policy })
}

/// What the keys of a rule say, whether that makes sense or not.
fn raw(
    table: &Section<'_>,
    inherited: Result<TagPolicy, Reported>,
) -> Result<(Option<TagPattern>, TagPolicy), Reported> {
    let pattern = table.optional("match", pattern);
    let immutable = table.optional("immutable", boolean);
    let policy = rule_policy(table, inherited);
    let immutable = immutable?.unwrap_or(false);
    let policy = TagPolicy {
        immutable,
        ..policy?
    };
    Ok((pattern?, policy))
}

/// The first rule that matches counts, so that one behind its like, or behind one for all tags, says nothing.
fn unless_shadowed(
    table: &Section<'_>,
    before: &[TagRule],
    rule: TagRule,
) -> Result<TagRule, Reported> {
    let shadows = |other: &&TagRule| other.pattern == rule.pattern || other.pattern.text == "*";
    match before.iter().find(shadows) {
        None => Ok(rule),
        Some(other) => {
            let message = format!(
                "never comes to count, since the rule for `{}` stands before it: write this one before that",
                other.pattern.text.escape_debug()
            );
            Err(table.complain("match", message))
        }
    }
}

/// A glob that can match a tag.
fn pattern(node: &Node) -> Result<TagPattern, String> {
    let text = text(node)?;
    let no_tag = |why: &str| {
        format!(
            "`{}` matches no tag: {why}, such as \"v*.*.*\"",
            text.escape_debug()
        )
    };
    if text.contains(['/', ':', '@']) {
        return Err(no_tag("write tags alone, without a repository"));
    }
    let may_stand = |c: char| c.is_ascii_alphanumeric() || "_.-*?[]{}!,^".contains(c);
    if !text.chars().all(may_stand) || text.starts_with(['.', '-']) {
        return Err(no_tag(
            "write letters, digits, `_`, `.` and `-`, with `*` for any number of them and `?` for one",
        ));
    }
    let glob = GlobBuilder::new(text)
        .build()
        .map_err(|error| no_tag(&error.kind().to_string()))?;
    Ok(TagPattern {
        text: text.to_owned(),
        matcher: glob.compile_matcher(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn rules(lines: &str) -> TagRules {
        let text = format!("[upstreams.'a.io']\ntags = {{ fresh_for = '2m' }}\n{lines}");
        let config = Config::from_toml(&text).unwrap();
        let mut upstreams = config.upstreams.into_iter();
        let found = upstreams.find(|upstream| upstream.registry.to_string() == "a.io");
        found.unwrap().tag_rules
    }

    fn fresh_for(rules: &TagRules, tag: &str) -> Option<String> {
        let policy = rules.policy(&tag.parse().unwrap())?;
        Some(crate::config::units::print_duration(policy.fresh_for))
    }

    #[test]
    fn the_first_rule_that_matches_counts_however_rules_are_written() {
        let inline = rules(
            "tag_rules = [{ match = 'v*.*.*', fresh_for = '7d' }, { match = 'v*', fresh_for = '1h' }]",
        );
        let tables = rules(
            "[[upstreams.'a.io'.tag_rules]]\nmatch = 'v*.*.*'\nfresh_for = '7d'\n\
             [[upstreams.'a.io'.tag_rules]]\nmatch = 'v*'\nfresh_for = '1h'",
        );
        assert_eq!(inline, tables);
        for (tag, expected) in [
            ("v1.2.3", Some("7d")),
            ("v1.2.3-alpine", Some("7d")),
            ("v1.2", Some("1h")),
            ("V1.2.3", None),
            ("latest-v1.2.3", None),
        ] {
            assert_eq!(fresh_for(&inline, tag).as_deref(), expected, "{tag}");
        }
    }

    /// A rule for builds that are named after commits froze the lists of signatures, too.
    #[test]
    fn a_tag_that_goes_by_a_digest_is_never_immutable() {
        let rules = rules("tag_rules = [{ match = 'sha*', immutable = true }]");
        let hex = "0123456789abcdef".repeat(4);
        for tag in [
            format!("sha256-{hex}"),
            format!("sha256-{hex}.sig"),
            format!("sha512-{hex}"),
        ] {
            assert_eq!(fresh_for(&rules, &tag), None, "{tag}");
        }
        for tag in ["sha-0123abc", "sha256-0123abc"] {
            assert!(
                rules.policy(&tag.parse().unwrap()).unwrap().immutable,
                "{tag}"
            );
        }
    }

    #[test]
    fn what_a_rule_leaves_out_is_its_upstreams() {
        let rules = rules(
            "tag_rules = [{ match = 'a', negative_for = '1s' }, { match = 'b-?', keep_deleted = true }, \
             { match = '{c,d}*', immutable = true }]",
        );
        assert_eq!(fresh_for(&rules, "a").as_deref(), Some("2m"));
        assert_eq!(fresh_for(&rules, "b-12"), None);
        let policy = |tag: &str| rules.policy(&tag.parse().unwrap()).unwrap();
        assert!(policy("b-1").keep_deleted && !policy("a").keep_deleted);
        assert!(policy("d1").immutable && !policy("b-1").immutable);
    }
}
