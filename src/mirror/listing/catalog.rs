//! What is cached here: the repositories of which a manifest is on disk, by tag or by digest, as a client of
//! this mirror writes them. No upstream is asked.
//!
//! Their upstream has said of each that it holds the manifest. What can't be known is not listed: a
//! repository in which only content was read that is everybody's and came through another one, since nobody
//! asked whether it is there too. Nor is one of which only blobs are here: there is nothing to pull.

use std::sync::Arc;

use crate::access::Visible;
use crate::oci::{Registry, RepositoryName};
use crate::store::StoreError;
use crate::upstream::Upstream;

use super::super::Mirror;
use super::super::error::MirrorError;
use super::super::rights::audience;
use super::super::served::CacheStatus;
use super::{Listing, Page};

/// Entries of a page where the client leaves the number open.
const PAGE: u32 = 1000;
/// Most registries that are looked at.
const REGISTRIES: usize = 10_000;

impl Mirror {
    /// A part of the repositories that are cached: of one registry, by their bare names, or of all, where the
    /// names of all but the default registry's begin with their host; and of those only what is `visible` to the client.
    pub async fn catalog(
        &self,
        visible: &Visible,
        registry: Option<&Registry>,
        page: &Page,
    ) -> Result<Listing, MirrorError> {
        let _turn = self.inner.lists.turns.of_catalog().await?;
        let count = page.n.unwrap_or(PAGE) as usize;
        let last = page.last.as_deref().unwrap_or_default();
        // One more, to know whether there is more.
        let names = match registry {
            Some(registry) => self.bare(visible, registry, last, count + 1).await,
            None => self.of_all(visible, last, count + 1).await,
        };
        let mut names = names.map_err(|error| {
            tracing::warn!(%error, "the index can't be read for the catalog");
            MirrorError::Busy("the cache's index can't be read".to_owned())
        })?;
        let more = names.len() > count;
        names.truncate(count);
        Ok(Listing {
            cache_status: CacheStatus::Hit,
            age: None,
            names: Listing::inside(&names)?,
            next: names.pop().filter(|_| more),
        })
    }

    async fn bare(
        &self,
        visible: &Visible,
        registry: &Registry,
        after: &str,
        count: usize,
    ) -> Result<Vec<String>, StoreError> {
        let wanted = |name: &RepositoryName| visible.shows(registry, name);
        self.those(visible, registry, after, count, wanted).await
    }

    async fn of_all(
        &self,
        visible: &Visible,
        after: &str,
        count: usize,
    ) -> Result<Vec<String>, StoreError> {
        let default = self.inner.routes.default_registry();
        let wanted = |name: &RepositoryName| is_bare(name) && visible.shows(default, name);
        let mut names = self.those(visible, default, after, count, wanted).await?;
        let registries = self.inner.store.registries(REGISTRIES).await?;
        // What was taken out of the configuration can't be pulled from here.
        let configured = |registry: &&Registry| self.inner.upstreams.get(registry).is_some();
        let registries = registries.iter().filter(configured);
        let mut prefixes: Vec<_> = registries.map(|r| (format!("{r}/"), r)).collect();
        // No prefix is another's beginning, so that what follows one sorts before what follows the next.
        prefixes.sort_unstable();
        let mut full = Vec::new();
        for (prefix, registry) in prefixes {
            let rest = match after.strip_prefix(&prefix) {
                Some(rest) => rest,
                None if prefix.as_str() > after => "",
                None => continue,
            };
            let wanted = |name: &RepositoryName| {
                (registry != default || !is_bare(name)) && visible.shows(registry, name)
            };
            let found = self
                .those(visible, registry, rest, count - full.len(), wanted)
                .await?;
            full.extend(found.into_iter().map(|name| format!("{prefix}{name}")));
            if full.len() >= count {
                break;
            }
        }
        names.append(&mut full);
        names.sort_unstable();
        names.truncate(count);
        Ok(names)
    }

    /// The first `count` names of a registry after `after` that may be pulled and are `wanted`.
    async fn those(
        &self,
        visible: &Visible,
        registry: &Registry,
        after: &str,
        count: usize,
        wanted: impl Fn(&RepositoryName) -> bool,
    ) -> Result<Vec<String>, StoreError> {
        let Some(upstream) = self.seen_by(visible, registry) else {
            return Ok(Vec::new());
        };
        let wanted = |name: &RepositoryName| {
            upstream.refusal(name).is_none() && upstream.is_entitled(name) && wanted(name)
        };
        let (store, audience) = (&self.inner.store, audience(&upstream));
        let read = |after: String, count| async move {
            store.repositories(registry, &after, count, audience).await
        };
        let found = first(count, after, wanted, read).await?;
        Ok(found.iter().map(ToString::to_string).collect())
    }
}

impl Mirror {
    /// A registry as the client sees it: with its own login, where each client sees what is theirs.
    fn seen_by(&self, visible: &Visible, registry: &Registry) -> Option<Arc<Upstream>> {
        let upstream = self.inner.upstreams.get(registry)?;
        if upstream.passthrough().is_none() {
            return Some(upstream);
        }
        let login = visible.login()?;
        if login.registry() != registry {
            return None;
        }
        self.inner.upstreams.with_login(login)
    }
}

/// The first `count` names after `after` that are `wanted`, of those that `read` gives in order. It reads no fewer at a
/// time than a page holds, however few a client asks for: all of those before the next one may be unwanted.
async fn first<E, Reading: Future<Output = Result<Vec<RepositoryName>, E>>>(
    count: usize,
    after: &str,
    wanted: impl Fn(&RepositoryName) -> bool,
    read: impl Fn(String, usize) -> Reading,
) -> Result<Vec<RepositoryName>, E> {
    let at_once = count.max(PAGE as usize);
    let mut after = after.to_owned();
    let mut found = Vec::new();
    while found.len() < count {
        let names = read(after, at_once).await?;
        let is_last = names.len() < at_once;
        after = names.last().map(ToString::to_string).unwrap_or_default();
        found.extend(names.into_iter().filter(&wanted));
        if is_last {
            break;
        }
    }
    found.truncate(count);
    Ok(found)
}

/// Whether a name of the default registry means it without its host before it.
fn is_bare(name: &RepositoryName) -> bool {
    let first = name.as_str().split_once('/').map_or("", |(first, _)| first);
    !Registry::looks_like_host(first)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;

    use super::*;

    /// A client that asked for one name at a time behind many that `allow` leaves out had the index read once for each two.
    #[tokio::test]
    async fn names_that_are_left_out_are_read_a_page_at_a_time() {
        let all: Vec<RepositoryName> = (0..5000)
            .map(|n| format!("team/app-{n:04}").parse().unwrap())
            .collect();
        let reads = Cell::new(0);
        let read = |after: String, count: usize| {
            reads.set(reads.get() + 1);
            let rest = all.iter().filter(|name| name.as_str() > after.as_str());
            let names = rest.take(count).cloned().collect();
            std::future::ready(Ok::<_, Infallible>(names))
        };
        let wanted = |name: &RepositoryName| name.as_str() >= "team/app-4998";
        let found = first(2, "", wanted, read).await.unwrap();
        assert_eq!(found, all[4998..]);
        assert_eq!(reads.get(), 5);
        let found = first(2, "team/app-4998", wanted, read).await.unwrap();
        assert_eq!(found, all[4999..]);
        assert_eq!(first(0, "", wanted, read).await.unwrap(), []);
    }
}
