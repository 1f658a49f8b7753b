//! forebay: a pull-through caching mirror for OCI (Docker) registries.
//!
//! This page is the map and the contract. It holds no logic.
//!
//! # The house
//!
//! | module | what it is for | may know |
//! |---|---|---|
//! | [`oci`] | digests, names, descriptors, manifests, wire errors; pure | |
//! | [`metrics`] | every metric and label, as functions | |
//! | [`sync`] | locks without the noise | |
//! | [`files`] | files that others replace meanwhile: whether one has changed, and those of TLS in PEM form | |
//! | [`config`] | files, environment and flags become one validated `Config` | `oci` |
//! | [`login`] | the logins that clients bring for an upstream, and the tokens that stand for them | `oci`, `config` |
//! | [`access`] | who may pull what: the gate, and the permits that the mirror's flows take | `oci`, `config`, `files`, `metrics`, `sync`, `login` |
//! | [`store`] | the disk: blobs, the index, links, tag records, the limit, recovery | `oci`, `metrics`, `sync` |
//! | [`upstream`] | one upstream: its endpoints, requests, logins, redirects, retries and breakers, quotas, the address policy | `oci`, `metrics`, `sync`, `files`, `config`, `login` |
//! | [`mirror`] | the product: manifest, blob and tag flows, the fill, rights, freshness | all above |
//! | [`http`] | one request: its route, client, limits, range, response, body, errors | `sync`, `mirror` and what it speaks in |
//! | [`status`] | how a running mirror stands, as a document; types only | |
//! | [`admin`] | the operators' listener: health, metrics and status | `mirror`, `status` |
//! | [`server`] | accept loops, PROXY headers, TLS and its certificates, timeouts, the connection caps and who makes room, the drain | `sync`, `files`, `http`, `admin` |
//! | [`app`] | the one place that knows all concrete types: start, reload, end | all above |
//! | `fuzzing` | what has to hold of all that strangers write: the fuzzers' targets, built for them and for tests alone | what it holds to it |
//! | [`client`] | what clients are told so that they pull through the mirror: files, merging, undoing | `oci`, `config` |
//! | [`cli`] | one file a command | `app`, `config`, `files`, `client`, `status`, and of `upstream` and `oci` what `check --online` tells |
//!
//! `tests/it/architecture.rs` fails on a `crate::` path that this table does not allow.
//!
//! # Words
//!
//! A *link* is the fact that a repository holds a digest, learned from its upstream: the right to read it there. A *tag
//! record* says what a tag pointed at, and when its upstream last confirmed it. A *fill* is one fetch of one blob into the
//! cache, read by any number of clients while it runs; a *follower* is a client reading a fill that another's request
//! started. A fill's *extents* are the ranges that are on disk, its *frontier* is the length of the contiguous, hashed
//! prefix, a *piece* is what one of its requests asks for, a *source* is a repository that it may ask.
//!
//! # Life of a request: GET of a blob, cold
//!
//! 1. `server` accepts the connection, shakes hands where TLS is spoken, and hands each request to the API that is there
//!    when it begins: a reload puts another one in its place.
//! 2. `http::route` turns method, path, query and host into a route. Bad input ends here, with the spec's error body.
//! 3. `http::client` tells where it comes from, and [`access::Gate`] who asks; the gate gives it the [`access::Permit`] without
//!    which no flow begins, or refuses it. `http::limit` lets it in, holds it for its turn, or refuses it. What it takes of its
//!    client's limits rides in the body.
//! 4. Where clients log in for themselves, the mirror makes sure of the login's right to the repository (`mirror::entry`).
//!    Then `Mirror::blob` looks for the right and the bytes: memory, then the index. Both there: the file is opened.
//! 5. Otherwise it joins the running fill of that digest, or starts one, and adds its own repository to the sources.
//! 6. The fill's driver is a task of its own. It asks the current source, writes and hashes in batches off the async
//!    threads, and publishes its frontier. The first answer proves the source's right. On the last byte it finishes the
//!    verifier, publishes `Verified`, commits the file, and writes down index row and links.
//! 7. A `FillReader` follows the frontier by reading the growing file. The response head waits for the first hashed byte,
//!    or, for a body of at most 64 KiB, for the digest, so that an early failure is still an honest status.
//! 8. `http` turns the `Served` value into a response; its guards ride in the body to the last byte. What a file has goes to a
//!    plain socket from the page cache, without a copy in this process (`store::Part`, `server`'s `lent.rs`).
//!
//! # What clients see
//!
//! The invariants are the mirror's own. What its clients are promised beyond them is tested by who they are:
//!
//! | tests | what they hold it against |
//! |---|---|
//! | `tests/it/protocol.rs` | requests as clients send them that can't run here, answered to the letter |
//! | `tests/it/vectors.rs` | what is sent to do harm, row by row: what it gets, and what becomes of its connection |
//! | `tests/it/clients.rs` | the clients that people use, before a scripted Docker Hub and a registry that is not ours |
//! | `tests/it/spec.rs` | the distribution specification's read side, routes, HEAD against GET, lists across restarts |
//! | `tests/it/client.rs` | what `forebay client` prints, writes and takes back |
//! | `tests/it/docs.rs` | the README and the pages of `config/` |
//!
//! # Invariants
//!
//! Each with the files that keep it and the tests that would show it broken.
//!
//! 1. **Verified or absent.** Nothing stands under `blobs/` unless its bytes hash to its name: `commit` takes an
//!    [`oci::Verified`], which only a finished verifier makes. Kept by `src/oci/verify.rs`, `src/store/commit.rs`; tested by
//!    `tests/it/faults.rs`, `tests/it/crash.rs`, `src/store/tests/crash.rs`.
//! 2. **Parsed once.** Text becomes [`oci::Digest`], [`oci::RepositoryName`], [`oci::Tag`] at the edge; file paths derive
//!    from decoded digests only, and no link in the cache's directory is followed. A manifest that two clients could take
//!    for two kinds is none. Kept by `src/oci/digest.rs`, `src/oci/name.rs`, `src/oci/manifest.rs`, `src/store/layout.rs`,
//!    `src/store/disk.rs`, each with its own property tests; tested by `tests/it/inputs.rs`, `src/store/tests/modes.rs`,
//!    and by `src/fuzzing.rs`, which says what has to hold of all that strangers write.
//! 3. **One fill a digest.** No byte of a blob is asked for twice, whatever the number of clients, ranges and
//!    repositories. A resume asks for the rest; a proven mismatch starts over, once. Rights are never shared: each client
//!    gets its own repository's answer, and one that has proven its right brings its own upstream along. Kept by
//!    `src/mirror/fill/table.rs`, `src/mirror/fill/plan.rs`, `src/mirror/fill/sources.rs`; tested by `tests/it/fills.rs` and
//!    by `src/mirror/fill/plan/tests.rs`, which explores the plan's transitions exhaustively.
//! 4. **A fill belongs to no client.** No disconnect slows or fails it; its failure reaches every reader as an error, never
//!    as an end of body. Without readers it goes on for `fetch.linger`, then pauses and keeps what it has. Kept by
//!    `src/mirror/fill/task.rs`, `src/mirror/fill/settle.rs`; tested by `tests/it/fills.rs`.
//! 5. **A 200 ends cleanly only if complete and verified**, and so does an open-ended range. Its last part is withheld
//!    until then; a bounded range of a running fill goes out unverified and says so, unless `cache.strict_ranges` has it
//!    wait. Bytes that stop coming end the connection with FIN, so that clients resume; a proven mismatch ends it with
//!    RST, because a resume would splice a good tail onto bad bytes. Kept by `src/mirror/fill/reader.rs`,
//!    `src/mirror/fill/solo.rs`, `src/http/body.rs`, `src/server/stream.rs`; tested by `tests/it/faults.rs`,
//!    `src/server/tests/ends.rs`, `src/server/tests/tls/ends.rs`.
//! 6. **Digests are never revalidated; tags are.** A stale tag is served only while its upstream can't be reached or
//!    refuses for load, or within `stale_while_revalidate`; never on 401 or 403, and on 404 only where the operator keeps
//!    what is deleted. Where a stale answer would do, the upstream is waited for `confirm_wait` at most. However little is
//!    left of a quota, a tag is asked for when it is due; what is put off is to follow it where it has moved. Tags that
//!    never change are for the operator to name. Lists of tags and of referrers are held to the same. Kept by
//!    `src/mirror/freshness.rs`, `src/mirror/tags.rs`, `src/mirror/confirm.rs`, `src/mirror/ahead.rs`,
//!    `src/mirror/listing.rs`; tested by `tests/it/tags.rs`, `tests/it/freshness.rs`, `tests/it/spec/listing.rs`,
//!    `tests/it/spec/listing/restart.rs`, `tests/it/hostile/stale.rs`, `src/mirror/tests.rs`,
//!    `src/mirror/tests/freshness.rs`.
//! 7. **Verbatim.** Manifest bytes are stored and served as they came. Kept by `src/mirror/manifests.rs`; tested by
//!    `tests/it/tags.rs`.
//! 8. **Bytes are shared, rights are not.** What was fetched without credentials, or from a repository while it is declared
//!    public, is readable in every repository of its upstream; all else only where the upstream has confirmed it. Nothing
//!    opens a body without a [`mirror::rights::Granted`]. Kept by `src/mirror/rights.rs`; tested by `tests/it/rights.rs`.
//!    Where each client sees what is theirs (`access = "passthrough"`), a flow is entered only by a login whose right to the
//!    repository its upstream has confirmed to that very login, for `grant_for` at most and no longer than the token that it
//!    was asked with; a refusal ends that at once, an absence proves nothing, and neither is told to another login. While the
//!    upstream is away only what has not ended counts. Neither the mirror's own login nor another client's is ever used. What
//!    such a login has seen is marked so, on disk too, and counts for nobody where the mirror's own login does. Kept by
//!    `src/mirror/entry.rs`, `src/upstream/entitled.rs`, `src/upstream/brought.rs`, `src/mirror/fill/sources.rs`,
//!    `src/store/audience.rs`; tested by `tests/it/passthrough.rs`, `tests/it/passthrough/leader.rs`,
//!    `tests/it/passthrough/reload.rs`, `src/mirror/tests/logins.rs`, `src/upstream/tests/brought.rs`.
//! 9. **Credentials stay home**: their upstream and its trusted realm; no redirect, log, label or error. A client's own
//!    login goes to the registry that it is for, and to no other endpoint of that than it was given for; this mirror's tokens
//!    stand for it here (`src/http/passthrough.rs`, `src/login.rs`; tested by `tests/it/passthrough/tokens.rs`,
//!    `tests/it/passthrough/reload.rs`). A client certificate is shown to the configured endpoints alone, a proxy's login to
//!    the proxy. Nor does an upstream lead the mirror into the network that it runs in. Nobody else on the machine sees into
//!    the process's memory or its cache, and a secret in a file that everybody can read is told. Kept by
//!    `src/upstream/exchange.rs`, `src/upstream/challenge.rs`, `src/upstream/credentials.rs`,
//!    `src/upstream/transport.rs`, `src/upstream/proxy.rs`, `src/upstream/address.rs`,
//!    `src/upstream/resolver.rs`, `src/config/secret.rs`, `src/config/exposed.rs`, `src/app/privacy.rs`; tested by
//!    `tests/it/hostile.rs`, `tests/it/rights.rs`, `tests/it/faults.rs`, `tests/it/credentials.rs`,
//!    `tests/it/registries/secrets.rs`, `tests/it/reach.rs`, `tests/it/online.rs`, `tests/it/startup.rs`,
//!    `src/upstream/tests/login.rs`.
//! 10. **The cache is disposable.** A store fault costs its help, never the pull; what fails within a part that a socket was
//!     given already is a cut, after which the client's next request goes upstream. Kept by `src/mirror/fill/settle.rs`,
//!     `src/mirror/fill/solo.rs`, `src/mirror/body.rs`, `src/store/part.rs`; tested by `tests/it/disk.rs`,
//!     `tests/it/restart.rs`, `tests/it/sendfile.rs`, `src/store/tests/parts.rs`.
//! 11. **Everything is bounded**: disk, memory a connection, fills, connections, queues, maps, waits, retries. The bounds
//!     that can be set are in `config/default.toml`; tested by `tests/it/limit.rs`, `src/store/tests/limit.rs`. What one
//!     client may take is bounded where an operator says so, and costs no other client and no fill anything: kept by
//!     `src/http/limit.rs`, tested by `src/http/limit/tests.rs`, `tests/it/limits.rs`. Where connections are as many as
//!     there may be, an idle one ends for a new one, and what finds no place is told so: kept by `src/server/place.rs`,
//!     `src/server/spare.rs`, tested by `src/server/tests/places.rs`, `tests/it/limits/house.rs`; a slow one is let go:
//!     `src/server/clocks.rs`, `src/server/tests/patience.rs`, `tests/it/limits/slow.rs`. What is sent to cost more than it should:
//!     `tests/it/limits/bombs.rs`, `tests/it/limits/ranges.rs`, `tests/it/limits/series.rs`.
//! 12. **Eviction only unlinks.** Open readers finish, a running fill is never evicted. What a manifest served within the
//!     hour refers to is evicted after all else, as far as four fifths of the cache allow; the limit and `min_free` win.
//!     Kept by `src/store/evict.rs`, `src/store/guard.rs`; tested by `src/store/tests/eviction.rs`,
//!     `src/store/tests/lifetime.rs`, `src/store/tests/traffic.rs`, `tests/it/lifetime.rs`.
//! 13. **A quota is never overdrawn, and nobody waits for it for ever.** A pull is charged before it is sent, at each quota
//!     that may count it, until an answer tells; a higher number counts only where it can't be a late one. Where nothing is
//!     known one pull goes ahead. Whoever waits is served in turn, round robin over clients, or told when to come back. Kept
//!     by `src/upstream/quota/ledger.rs`, `src/upstream/quota/gate.rs`, `src/upstream/quota/book.rs`; explored against
//!     simulated registries by `src/upstream/quota/ledger/model.rs` and `src/upstream/quota/book/model.rs`; tested by
//!     `tests/it/quota.rs`, `tests/it/fleet.rs`.
//! 14. **No one in who does not belong.** Where `[access]` is configured, a client is told nothing of a repository that it may
//!     not pull, in no state of the cache, and not whether there is one: every flow takes an [`access::Permit`], which only
//!     [`access::Gate`] gives, by who asks and the name alone, which is one however a client writes it ([`http::Naming`]). What
//!     it takes to check a login is bounded, and a flood of wrong ones hurts its own address alone, and there nobody who was
//!     right before. Kept by `src/access.rs`, `src/access/passwords.rs`, `src/access/queue.rs`, `src/access/floods.rs`,
//!     `src/http/login.rs`; tested by `src/access/tests.rs`, `src/access/passwords/tests.rs`, `tests/it/access.rs` and, over
//!     every route, range and state, `tests/it/access/matrix.rs`; over every spelling, `tests/it/access/spellings.rs`.
//! 15. **A configuration counts as a whole or not at all.** A reload makes everything ready before any of it counts; a
//!     request keeps what it began with, and what stays the same keeps what it has learned. A certificate that can't be used
//!     leaves the one before it, and a mirror that keeps somebody out is opened by a restart alone. Kept by
//!     `src/app/reload.rs`, `src/config/changes.rs`, `src/config/changes/opening.rs`, `src/server/tls/watch.rs`; tested by
//!     `tests/it/reload.rs`, `tests/it/access/reload.rs`, `tests/it/tls.rs`.

#![forbid(unsafe_code)]

pub mod access;
pub mod admin;
pub mod app;
pub mod cli;
pub mod client;
pub mod config;
pub mod files;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod http;
pub mod login;
pub mod metrics;
pub mod mirror;
pub mod oci;
pub mod server;
pub mod status;
pub mod store;
pub mod sync;
pub mod upstream;
