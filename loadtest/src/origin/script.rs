//! The script: which requests get which faults, and how often.
//!
//! Owns the table of rules. Rules are tried in the order in which they were
//! asked for; one that can do nothing for a response is kept for a later one.

use std::sync::{Arc, Mutex};

use super::faults::{Before, During, Event, Fault};
use super::gate::Gate;
use super::reply::Part;
use super::request::{Kind, When};

/// What rules look at in a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) kind: Kind,
    pub(crate) repository: Option<&'a str>,
    pub(crate) reference: Option<&'a str>,
    pub(crate) ranged: bool,
}

impl Facts<'_> {
    fn is_head(&self) -> bool {
        matches!(
            self.kind,
            Kind::ManifestHead | Kind::BlobHead | Kind::CdnHead
        )
    }
}

#[derive(Debug)]
struct Rule {
    id: u64,
    when: When,
    before_auth: bool,
    /// How many more times; none means forever.
    left: Option<usize>,
    hits: usize,
    fault: Fault,
}

impl Rule {
    fn hit(&mut self) {
        self.hits += 1;
        self.left = self.left.map(|left| left - 1);
    }
}

/// All scripted faults, in the order in which they were asked for.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rules: Mutex<Rules>,
}

#[derive(Debug, Default)]
struct Rules {
    next: u64,
    list: Vec<Rule>,
}

impl Table {
    /// What comes before the response to this request; used up by asking.
    pub(crate) fn before(&self, request: &Facts<'_>, before_auth: bool) -> Before {
        let mut before = Before::default();
        self.take(request, |rule| {
            rule.fault.comes_first()
                && rule.before_auth == before_auth
                && before.accept(&rule.fault, request)
        });
        before
    }

    /// What acts on the response, whose body is `part`. What acts at a byte is
    /// used up when the body gets there, the rest by asking.
    pub(crate) fn during(self: &Arc<Self>, request: &Facts<'_>, part: Option<&Part>) -> During {
        let mut during = During::default();
        let body = part.filter(|_| !request.is_head());
        self.take(request, |rule| {
            if rule.fault.comes_first() {
                return false;
            }
            if let Some((at, act)) = body.and_then(|part| rule.fault.at_byte(part)) {
                let claim = Claim {
                    table: Arc::clone(self),
                    id: rule.id,
                };
                during.events.push(Event { at, act, claim });
                return false;
            }
            during.accept(&rule.fault, part)
        });
        during
    }

    pub(crate) fn clear(&self) {
        self.lock().list.clear();
    }

    fn take(&self, request: &Facts<'_>, mut wants: impl FnMut(&Rule) -> bool) {
        for rule in &mut self.lock().list {
            let selected = rule
                .when
                .selects(request.kind, request.repository, request.reference);
            if rule.left == Some(0) || !selected || !wants(rule) {
                continue;
            }
            rule.hit();
        }
    }

    fn add(&self, when: When, before_auth: bool, left: Option<usize>, fault: Fault) -> u64 {
        let mut rules = self.lock();
        let id = rules.next;
        rules.next += 1;
        rules.list.push(Rule {
            id,
            when,
            before_auth,
            left,
            hits: 0,
            fault,
        });
        id
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Rules> {
        self.rules.lock().expect("nobody panics with the lock")
    }
}

/// A response's chance at a rule that acts at a byte. Several responses may have
/// one; whoever gets to the byte first takes it.
#[derive(Debug)]
pub(crate) struct Claim {
    table: Arc<Table>,
    id: u64,
}

impl Claim {
    pub(crate) fn take(&self) -> bool {
        let mut rules = self.table.lock();
        let rule = rules
            .list
            .iter_mut()
            .find(|rule| rule.id == self.id && rule.left != Some(0));
        rule.map(Rule::hit).is_some()
    }
}

/// Asks for a fault on some requests, see [`super::Origin::on`].
#[derive(Debug)]
#[must_use = "nothing happens until `once`, `times` or `always`"]
pub struct On<'a> {
    table: &'a Arc<Table>,
    when: When,
    before_auth: bool,
}

impl<'a> On<'a> {
    pub(crate) fn new(table: &'a Arc<Table>, when: When) -> Self {
        Self {
            table,
            when,
            before_auth: false,
        }
    }

    /// Only for this repository.
    pub fn repository(mut self, name: &str) -> Self {
        self.when = self.when.repository(name);
        self
    }

    /// Only for this tag or digest.
    pub fn reference(mut self, reference: impl AsRef<str>) -> Self {
        self.when = self.when.reference(reference);
        self
    }

    /// Requests that are yet to be refused for want of credentials are hit too
    /// (only by faults that come before the response).
    pub fn before_auth(mut self) -> Self {
        self.before_auth = true;
        self
    }

    /// The next response that the fault can act on gets it; if it acts at a byte,
    /// the first that gets there.
    pub fn once(self, fault: Fault) -> Scripted {
        self.times(1, fault)
    }

    /// The next `times` responses that the fault can act on get it.
    pub fn times(self, times: usize, fault: Fault) -> Scripted {
        self.script(Some(times), fault)
    }

    /// Every response gets it, until it is removed.
    pub fn always(self, fault: Fault) -> Scripted {
        self.script(None, fault)
    }

    /// Holds bodies from byte `position` on until the gate is released.
    pub fn hold_at(self, position: u64) -> Gate {
        let gate = Gate::new();
        self.always(Fault::HoldAt(position, gate.clone()));
        gate
    }

    /// Holds whole responses until the gate is released.
    pub fn hold_head(self) -> Gate {
        let gate = Gate::new();
        self.always(Fault::HoldHead(gate.clone()));
        gate
    }

    fn script(self, times: Option<usize>, fault: Fault) -> Scripted {
        let id = self.table.add(self.when, self.before_auth, times, fault);
        Scripted {
            table: Arc::clone(self.table),
            id,
        }
    }
}

/// A fault that was asked for. Dropping this changes nothing.
#[derive(Clone, Debug)]
pub struct Scripted {
    table: Arc<Table>,
    id: u64,
}

impl Scripted {
    /// How many responses it has hit.
    pub fn hits(&self) -> usize {
        let rules = self.table.lock();
        rules
            .list
            .iter()
            .find(|rule| rule.id == self.id)
            .map_or(0, |rule| rule.hits)
    }

    /// Ends it.
    pub fn remove(&self) {
        self.table.lock().list.retain(|rule| rule.id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOB: Facts<'static> = Facts {
        kind: Kind::CdnGet,
        repository: Some("library/app"),
        reference: Some("sha256:aa"),
        ranged: true,
    };

    fn on(table: &Arc<Table>) -> On<'_> {
        On::new(table, Kind::CdnGet.into())
    }

    fn part(span: std::ops::Range<u64>) -> Part {
        Part { span, total: 100 }
    }

    #[test]
    fn cut_is_taken_by_the_first_body_that_gets_to_its_byte() {
        let table = Arc::new(Table::default());
        let cut = on(&table).once(Fault::CutAt(50));
        assert!(table.during(&BLOB, Some(&part(0..50))).events.is_empty());
        assert!(table.during(&BLOB, Some(&part(51..100))).events.is_empty());
        let slow = table.during(&BLOB, Some(&part(0..100)));
        let fast = table.during(&BLOB, Some(&part(50..100)));
        assert_eq!(cut.hits(), 0);
        assert!(fast.events[0].claim.take());
        assert!(!slow.events[0].claim.take());
        assert_eq!(cut.hits(), 1);
        assert!(table.during(&BLOB, Some(&part(0..100))).events.is_empty());
    }

    #[test]
    fn hold_acts_at_the_start_of_a_body_beyond_it() {
        let table = Arc::new(Table::default());
        on(&table).hold_at(50);
        assert_eq!(table.during(&BLOB, Some(&part(0..100))).events[0].at, 50);
        assert_eq!(table.during(&BLOB, Some(&part(70..100))).events[0].at, 70);
        assert!(table.during(&BLOB, Some(&part(0..50))).events.is_empty());
    }

    #[test]
    fn second_answer_is_kept_for_the_next_request() {
        let table = Arc::new(Table::default());
        on(&table).once(Fault::status(503));
        on(&table).once(Fault::status(429));
        let statuses: Vec<_> = (0..3)
            .map(|_| {
                table
                    .before(&BLOB, false)
                    .answer
                    .map(|reply| reply.status.as_u16())
            })
            .collect();
        assert_eq!(statuses, [Some(503), Some(429), None]);
    }

    #[test]
    fn rules_select_by_kind_repository_and_reference() {
        let table = Arc::new(Table::default());
        on(&table).reference("sha256:bb").always(Fault::IgnoreRange);
        on(&table)
            .repository("library/other")
            .always(Fault::IgnoreRange);
        On::new(&table, Kind::BlobGet.into()).always(Fault::IgnoreRange);
        assert!(!table.before(&BLOB, false).ignore_range);
        on(&table)
            .reference("sha256:aa")
            .repository("library/app")
            .always(Fault::IgnoreRange);
        assert!(table.before(&BLOB, false).ignore_range);
        table.clear();
        assert!(!table.before(&BLOB, false).ignore_range);
    }

    #[test]
    fn different_faults_act_on_one_response_together() {
        let table = Arc::new(Table::default());
        on(&table).once(Fault::FlipBit(3));
        on(&table).once(Fault::Extra(1));
        on(&table).once(Fault::Throttle(10));
        let during = table.during(&BLOB, Some(&part(0..100)));
        assert_eq!(
            (during.events.len(), during.grown, during.paces.len()),
            (1, 1, 1)
        );
    }

    #[test]
    fn removed_fault_hits_no_more() {
        let table = Arc::new(Table::default());
        let scripted = on(&table).always(Fault::status(500));
        scripted.remove();
        assert!(table.before(&BLOB, false).answer.is_none());
    }
}
