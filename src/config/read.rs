//! Reads the merged tables into a [`Config`].

use std::path::{Path, PathBuf};

use super::access;
use super::limits;
use super::section::{Reported, Section};
use super::tags::tag_policy;
use super::tls;
use super::tree::Node;
use super::types::{Admin, Cache, Config, Fetch, Log, Server, Timeouts};
use super::upstreams;
use super::values::{
    address, address_or_off, boolean, count, duration, log_format, log_level, path, registry, size,
    size_from, timeout,
};

/// What the index needs to begin with, and room for a few small blobs.
const LEAST_CACHE: u64 = 16 << 20;

/// Reads everything; on an error, the report has what is wrong. `user_cache` is the user's cache
/// directory, `user_logins` the file where docker or podman keep the user's logins.
pub(super) fn config(
    root: &Section<'_>,
    user_cache: Option<PathBuf>,
    user_logins: Option<&Path>,
) -> Result<Config, Reported> {
    let default_registry = root.required("default_registry", registry);
    let server = server(&root.table("server"));
    let admin = admin(&root.table("admin"));
    let listeners = check_listeners(root, server.as_ref(), admin.as_ref());
    let cache = cache(&root.table("cache"), user_cache);
    let tags = tag_policy(&root.table("tags"), None);
    let fetch = fetch(&root.table("fetch"));
    let timeouts = timeouts(&root.table("timeouts"), None);
    let limits = limits::limits(&root.table("limits"));
    let log = log(&root.table("log"));
    let inherited = upstreams::Inherited {
        registries: &[],
        user_logins,
        tags,
        timeouts,
        max_connections: fetch.map(|f| f.connections_per_upstream),
    };
    let upstreams = upstreams::read(&root.table("upstreams"), inherited);
    let access = access::read(root, &upstreams.keys);
    if let Ok(registry) = &default_registry
        && !upstreams
            .registries
            .iter()
            .any(|known| known.matches(registry))
    {
        let message =
            format!("no upstream is configured for `{registry}`: write [upstreams.\"{registry}\"]");
        root.complain("default_registry", message);
    }
    if let (Ok(Some(access)), Ok(all)) = (&access, &upstreams.all)
        && access.has_logins()
        && let Some(passes) = all.iter().find(|upstream| upstream.passthrough.is_some())
    {
        let message = format!(
            "clients log in for themselves at `{}` (`access = \"passthrough\"`), and a request has room for one login: \
             leave out `htpasswd_file` and the tokens, or that",
            passes.registry
        );
        root.complain("access", message);
    }
    root.finish();
    listeners?;
    Ok(Config {
        default_registry: default_registry?,
        server: server?,
        admin: admin?,
        cache: cache?,
        tags: tags?,
        fetch: fetch?,
        timeouts: timeouts?,
        limits: limits?,
        access: access?,
        log: log?,
        upstreams: upstreams.all?,
        disabled: upstreams.disabled,
        exposed: Vec::new(),
    })
}

fn server(section: &Section<'_>) -> Result<Server, Reported> {
    let listen = section.list("listen", address);
    if listen.as_ref().is_ok_and(Vec::is_empty) {
        section.complain(
            "listen",
            "nothing is listened on: write an address such as \"127.0.0.1:5000\"".into(),
        );
    }
    let header_timeout = section.required("header_timeout", timeout);
    let idle_timeout = section.required("idle_timeout", timeout);
    let write_idle_timeout = section.required("write_idle_timeout", timeout);
    let drain = section.required("drain", duration);
    let catalog = section.required("catalog", boolean);
    let proxies = limits::proxies(section);
    let tls = tls::read(&section.table("tls"));
    section.finish();
    Ok(Server {
        listen: listen?,
        header_timeout: header_timeout?,
        idle_timeout: idle_timeout?,
        write_idle_timeout: write_idle_timeout?,
        drain: drain?,
        catalog: catalog?,
        proxies: proxies?,
        tls: tls?,
    })
}

fn admin(section: &Section<'_>) -> Result<Admin, Reported> {
    let listen = section.required("listen", address_or_off);
    let tls = tls::read(&section.table("tls"));
    section.finish();
    Ok(Admin {
        listen: listen?,
        tls: tls?,
    })
}

/// One port takes one listener; port 0 is a new one each time.
fn check_listeners(
    root: &Section<'_>,
    server: Result<&Server, &Reported>,
    admin: Result<&Admin, &Reported>,
) -> Result<(), Reported> {
    let (Ok(server), Ok(admin)) = (server, admin) else {
        return Ok(());
    };
    let fixed = |address: &&std::net::SocketAddr| address.port() != 0;
    let mut addresses: Vec<_> = server.listen.iter().filter(fixed).collect();
    addresses.sort_unstable();
    if let Some(twice) = (1..addresses.len()).find(|at| addresses[at - 1] == addresses[*at]) {
        let message = format!(
            "`{}` is there twice: write each address once",
            addresses[twice]
        );
        return Err(root.table("server").complain("listen", message));
    }
    match &admin.listen {
        Some(listen) if addresses.contains(&listen) => {
            let message = format!("`{listen}` is the clients' address too: write another port");
            Err(root.table("admin").complain("listen", message))
        }
        _ => Ok(()),
    }
}

fn cache(section: &Section<'_>, user_cache: Option<PathBuf>) -> Result<Cache, Reported> {
    let dir = section.optional("dir", path).and_then(|dir| {
        dir.or_else(|| user_cache.map(|dir| dir.join("forebay"))).ok_or_else(|| {
            let message = "there is no home directory to keep the cache in: set `dir`, FOREBAY_CACHE__DIR or --cache-dir";
            section.complain("dir", message.into())
        })
    });
    let lock_wait = section.required("lock_wait", duration);
    let max_size = section.required("max_size", size_from(LEAST_CACHE));
    let min_free = section.required("min_free", size);
    let memory = section.required("memory", size);
    let open_files = section.required("open_files", count(1..=1_000_000));
    let strict_ranges = section.required("strict_ranges", boolean);
    section.finish();
    Ok(Cache {
        dir: dir?,
        lock_wait: lock_wait?,
        max_size: max_size?,
        min_free: min_free?,
        memory: memory?,
        open_files: open_files?,
        strict_ranges: strict_ranges?,
    })
}

/// What a table for all says, for an upstream to inherit; `None` while that table itself is read.
pub(super) type Inherited<T> = Option<Result<T, Reported>>;

/// Reads a value, or takes the one that is inherited; where there is none, it has to be set.
pub(super) fn inherit<T, V>(
    section: &Section<'_>,
    key: &str,
    inherited: Inherited<T>,
    of: fn(T) -> V,
    read: fn(&Node) -> Result<V, String>,
) -> Result<V, Reported> {
    match inherited {
        None => section.required(key, read),
        Some(inherited) => match section.optional(key, read)? {
            Some(own) => Ok(own),
            None => inherited.map(of),
        },
    }
}

/// `[timeouts]`, or an upstream's overrides of it.
pub(super) fn timeouts(
    section: &Section<'_>,
    inherited: Inherited<Timeouts>,
) -> Result<Timeouts, Reported> {
    let get = |key, of| inherit(section, key, inherited, of, timeout);
    let connect = get("connect", |timeouts| timeouts.connect);
    let first_byte = get("first_byte", |timeouts| timeouts.first_byte);
    let body_idle = get("body_idle", |timeouts| timeouts.body_idle);
    section.finish();
    Ok(Timeouts {
        connect: connect?,
        first_byte: first_byte?,
        body_idle: body_idle?,
    })
}

fn fetch(section: &Section<'_>) -> Result<Fetch, Reported> {
    let linger = section.required("linger", duration);
    let connections_per_fill = section.required("connections_per_fill", count(1..=64));
    let connections_per_upstream = section.required("connections_per_upstream", count(1..=10_000));
    let connections_total = section.required("connections_total", count(1..=100_000));
    let max_fills = section.required("max_fills", count(1..=100_000));
    let wait = section.required("wait", duration);
    section.finish();
    Ok(Fetch {
        linger: linger?,
        connections_per_fill: connections_per_fill?,
        connections_per_upstream: connections_per_upstream?,
        connections_total: connections_total?,
        max_fills: max_fills?,
        wait: wait?,
    })
}

fn log(section: &Section<'_>) -> Result<Log, Reported> {
    let level = section.required("level", log_level);
    let format = section.required("format", log_format);
    let wait = section.required("wait", duration);
    section.finish();
    Ok(Log {
        level: level?,
        format: format?,
        wait: wait?,
    })
}
