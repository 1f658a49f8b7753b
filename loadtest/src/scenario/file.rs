//! A scenario as it is written: TOML, in which whatever is not known is an error.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;
use std::{fs, io};

use serde::Deserialize;

use super::event::{Change, Condition, Event};
use super::expectation::Expectation;
use super::values::{Like, PullQuota, Size, Time};
use crate::fleet::{Flavour, Reference};
use crate::units;

/// What a fleet does to a mirror, and what is expected of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is called.
    pub name: String,
    /// What it is about, in a sentence or some.
    pub about: String,
    /// The clients' pauses before they ask again are this many times shorter than real ones.
    #[serde(default = "one")]
    pub hurry: u32,
    /// Whether clients know the registry itself, and go there where the mirror fails them.
    #[serde(default)]
    pub around: bool,
    /// What there is to pull.
    #[serde(default)]
    pub images: Images,
    /// How the upstream behaves, where it is ours.
    #[serde(default)]
    pub upstream: Upstream,
    /// The mirror's configuration, where it is started for this.
    #[serde(default)]
    pub mirror: Mirror,
    /// One after the other.
    #[serde(rename = "phase")]
    pub phases: Vec<Phase>,
    /// Of the whole run.
    #[serde(default)]
    pub expect: Vec<Expectation>,
}

/// Images that the origin is given, or that a mirror is asked for by name.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Images {
    /// How many there are: library/image-0:v1 and so on.
    pub count: u32,
    /// Layers of each.
    pub layers: u32,
    /// How many of these are the same in all images, from the lowest on.
    pub shared_layers: u32,
    /// How large each layer is.
    pub layer_size: Size,
    /// Images of a registry that is not ours, in place of all this.
    pub named: Vec<Reference>,
}

impl Default for Images {
    fn default() -> Self {
        Self {
            count: 1,
            layers: 3,
            shared_layers: 0,
            layer_size: Size(1_000_000),
            named: Vec::new(),
        }
    }
}

/// The upstream, where it is ours.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Upstream {
    /// Which registry it behaves as, with its logins and redirects; if none, it is open and sends all by itself.
    pub like: Option<Like>,
    /// Pulls that it allows in a time, as Docker Hub does.
    pub quota: Option<PullQuota>,
    /// How it is at first.
    pub condition: Condition,
}

/// The mirror, where it is started for this.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mirror {
    /// Its configuration, without the upstream, addresses and the cache's directory.
    pub config: String,
}

impl Mirror {
    /// How long it trusts a tag, where it is told.
    ///
    /// # Errors
    /// Where its configuration is none, or says that in words that are not known here.
    pub fn tags_fresh_for(&self) -> io::Result<Option<Duration>> {
        let wrong = |error: String| io::Error::other(format!("mirror.config: {error}"));
        let config: toml::Table = self
            .config
            .parse()
            .map_err(|error| wrong(format!("{error}")))?;
        let tags = config.get("tags");
        let Some(time) = tags.and_then(|tags| tags.get("fresh_for")) else {
            return Ok(None);
        };
        let time = time.as_str().map(units::duration);
        match time {
            Some(Ok(time)) => Ok(Some(time)),
            Some(Err(error)) => Err(wrong(format!("tags.fresh_for: {error}"))),
            None => Err(wrong("tags.fresh_for: it is no text".to_owned())),
        }
    }
}

/// Clients that pull, all of them at once, and what happens meanwhile.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// What it is called.
    pub name: String,
    /// How many of which.
    pub clients: BTreeMap<Flavour, u32>,
    /// How many images each of them pulls, one after the other; all that there are, if it is not said.
    pub images: Option<u32>,
    /// Which one each begins with.
    #[serde(default)]
    pub order: Order,
    /// The clients begin within this time, evenly; all at once, if it is not said.
    #[serde(default)]
    pub start_within: Time,
    /// How often a client's keeper, such as a kubelet, has it pull before that counts as failed.
    #[serde(default = "one")]
    pub attempts: u32,
    /// In the order in which they happen.
    #[serde(default)]
    pub events: Vec<Event>,
    /// Of this phase alone.
    #[serde(default)]
    pub expect: Vec<Expectation>,
}

/// Which image a client begins with. It goes on with the next one, and after the last with the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// The next one for each client.
    #[default]
    Shifted,
    /// The first one for all of them.
    Same,
}

fn one() -> u32 {
    1
}

impl Phase {
    /// How many clients there are.
    pub fn count(&self) -> u32 {
        self.clients.values().sum()
    }

    /// How many pulls it is, of a scenario with so many images.
    pub fn pulls(&self, images: u32) -> u64 {
        u64::from(self.count()) * u64::from(self.images.unwrap_or(images))
    }
}

impl Scenario {
    /// Reads one from a file.
    ///
    /// # Errors
    /// Where it can't be read, or something in it is wrong: what, and in which line.
    pub fn read(path: &Path) -> io::Result<Self> {
        let told = |error: String| io::Error::other(format!("{}: {error}", path.display()));
        let text = fs::read_to_string(path).map_err(|error| told(error.to_string()))?;
        text.parse().map_err(told)
    }

    /// How many images there are.
    pub fn image_count(&self) -> u32 {
        match self.images.named.len() {
            0 => self.images.count,
            named => u32::try_from(named).unwrap_or(u32::MAX),
        }
    }

    /// Everything that happens, in all phases.
    pub fn changes(&self) -> impl Iterator<Item = Change> {
        let events = self.phases.iter().flat_map(|phase| &phase.events);
        events.map(|event| event.change)
    }

    /// A scenario with so many times fewer clients, and layers so many times smaller, to see that it works. What is saved is of
    /// many clients, and no longer expected.
    #[must_use]
    pub fn shrunk(mut self, by: u32) -> Self {
        let by = by.max(1);
        let all = self.image_count();
        self.images.layer_size.0 = (self.images.layer_size.0 / u64::from(by)).max(1);
        self.expect.retain(|it| !it.measure.is_share());
        for phase in &mut self.phases {
            let before = phase.pulls(all);
            for count in phase.clients.values_mut() {
                *count = count.div_ceil(by);
            }
            let now = phase.pulls(all);
            for event in &mut phase.events {
                event.after = event.after * now / before.max(1);
            }
            phase.expect.retain(|it| !it.measure.is_share());
        }
        self
    }

    /// What its types can't say, all at once.
    pub(super) fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let images = &self.images;
        if self.image_count() == 0 || images.layers == 0 || images.layer_size == Size(0) {
            mistakes.push("images: there has to be something to pull".to_owned());
        }
        // The uppermost layer is what a moved tag changes.
        if images.shared_layers >= images.layers && images.shared_layers > 0 {
            mistakes.push("images.shared_layers: at least one layer is an image's own".to_owned());
        }
        if self.around && self.upstream.like.is_some() {
            mistakes
                .push("upstream.like: clients log in nowhere, so they can't go around".to_owned());
        }
        if self.phases.is_empty() {
            mistakes.push("phase: there is none".to_owned());
        }
        for phase in &self.phases {
            self.mistakes_in(phase, &mut mistakes);
        }
        mistakes
    }

    fn mistakes_in(&self, phase: &Phase, mistakes: &mut Vec<String>) {
        let (name, count) = (&phase.name, self.image_count());
        let mut wrong = |what: &str| mistakes.push(format!("phase `{name}`: {what}"));
        if phase.count() == 0 || phase.attempts == 0 || phase.images == Some(0) {
            wrong("nobody pulls anything");
        }
        if phase.images.is_some_and(|images| images > count) {
            wrong(&format!(
                "there are {count} images, not as many as `images`"
            ));
        }
        let pulls = phase.pulls(count);
        let mut last = 0;
        for event in &phase.events {
            if event.after > pulls {
                wrong(&format!(
                    "an event waits for pull {} of {pulls}",
                    event.after
                ));
            }
            if event.after < last {
                wrong("events are not in the order of `after`");
            }
            last = event.after;
            if matches!(event.change, Change::MoveTags(tags) if tags > count) {
                wrong(&format!(
                    "there are {count} tags, not as many as `move_tags`"
                ));
            }
        }
    }
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let scenario: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        match scenario.mistakes() {
            mistakes if mistakes.is_empty() => Ok(scenario),
            mistakes => Err(mistakes.join("\n")),
        }
    }
}
