//! Which changes of a configuration a running mirror takes up, and which wait for a restart.

mod opening;

use super::types::{Admin, Cache, Config, Fetch, Limits, Server};

impl Config {
    /// The table without which everybody may pull everything.
    pub const ACCESS: &str = "access";

    /// What of this configuration a mirror can go by that runs by `running`: all but what it has bound, opened or divided at
    /// its start, which stays as it runs, and what would open it. With it, the keys that differ and stay.
    #[must_use]
    pub fn taking_effect(mut self, running: &Self) -> (Self, Vec<String>) {
        let mut staying = Staying(Vec::new());
        // Each key is named, so that a new one is decided upon.
        let Self {
            default_registry,
            server,
            admin,
            cache,
            tags: _,
            fetch,
            timeouts: _,
            limits,
            log,
            upstreams,
            disabled,
            access,
            exposed: _,
        } = &mut self;
        staying.server(server, &running.server);
        staying.admin(admin, &running.admin);
        staying.cache(cache, &running.cache);
        staying.fetch(fetch, &running.fetch);
        staying.limits(limits, &running.limits);
        staying.keep("log.format", &mut log.format, &running.log.format);
        staying.keep("log.wait", &mut log.wait, &running.log.wait);
        staying.access(access, running.access.as_ref());
        if staying.upstreams(upstreams, disabled, running) {
            let key = "default_registry";
            staying.keep(key, default_registry, &running.default_registry);
        }
        (self, staying.0)
    }
}

/// Keys that differ and stay.
struct Staying(Vec<String>);

impl Staying {
    fn keep<T: Clone + PartialEq>(&mut self, key: &'static str, new: &mut T, running: &T) {
        if new != running {
            new.clone_from(running);
            self.name(key);
        }
    }

    fn name(&mut self, key: impl Into<String>) {
        self.0.push(key.into());
    }

    fn server(&mut self, new: &mut Server, running: &Server) {
        let Server {
            listen,
            header_timeout,
            idle_timeout,
            write_idle_timeout,
            drain,
            catalog: _,
            proxies: _,
            tls,
        } = new;
        self.keep("server.listen", listen, &running.listen);
        let timeout = &running.header_timeout;
        self.keep("server.header_timeout", header_timeout, timeout);
        self.keep("server.idle_timeout", idle_timeout, &running.idle_timeout);
        let timeout = &running.write_idle_timeout;
        self.keep("server.write_idle_timeout", write_idle_timeout, timeout);
        self.keep("server.drain", drain, &running.drain);
        self.tls("server.tls", tls, running.tls.as_ref());
    }

    fn admin(&mut self, new: &mut Admin, running: &Admin) {
        let Admin { listen, tls } = new;
        self.keep("admin.listen", listen, &running.listen);
        self.tls("admin.tls", tls, running.tls.as_ref());
    }

    fn cache(&mut self, new: &mut Cache, running: &Cache) {
        let Cache {
            dir,
            lock_wait,
            max_size,
            min_free,
            memory,
            open_files,
            strict_ranges: _,
        } = new;
        self.keep("cache.dir", dir, &running.dir);
        self.keep("cache.lock_wait", lock_wait, &running.lock_wait);
        self.keep("cache.max_size", max_size, &running.max_size);
        self.keep("cache.min_free", min_free, &running.min_free);
        self.keep("cache.memory", memory, &running.memory);
        self.keep("cache.open_files", open_files, &running.open_files);
    }

    fn fetch(&mut self, new: &mut Fetch, running: &Fetch) {
        let Fetch {
            linger,
            connections_per_fill,
            // Each upstream has its own share of it.
            connections_per_upstream: _,
            connections_total,
            max_fills,
            wait: _,
        } = new;
        self.keep("fetch.linger", linger, &running.linger);
        let most = &running.connections_per_fill;
        self.keep("fetch.connections_per_fill", connections_per_fill, most);
        let most = &running.connections_total;
        self.keep("fetch.connections_total", connections_total, most);
        self.keep("fetch.max_fills", max_fills, &running.max_fills);
    }

    fn limits(&mut self, new: &mut Limits, running: &Limits) {
        let most = &running.max_connections;
        self.keep("limits.max_connections", &mut new.max_connections, most);
    }
}

#[cfg(test)]
mod tests {
    use forebay_loadtest::certificates::Authority;

    use super::*;

    fn config(text: &str) -> Config {
        Config::from_toml(text).unwrap()
    }

    #[test]
    fn what_was_bound_opened_or_divided_at_the_start_stays_and_is_named() {
        let running = config("");
        let (taken, staying) = config(
            "[server]\nlisten = ['127.0.0.1:7']\ncatalog = false\n[cache]\nmax_size = '1GiB'\nstrict_ranges = true\n\
             [fetch]\nmax_fills = 3\nwait = '1s'\n[limits]\nper_client_in_flight = 3\n[upstreams.'a.io']\n",
        )
        .taking_effect(&running);
        assert_eq!(
            staying,
            ["server.listen", "cache.max_size", "fetch.max_fills"]
        );
        assert_eq!(taken.server.listen, running.server.listen);
        assert_eq!(taken.cache.max_size, running.cache.max_size);
        assert_eq!(taken.fetch.max_fills, running.fetch.max_fills);
        assert!(!taken.server.catalog && taken.cache.strict_ranges);
        assert_eq!(taken.limits.per_client_in_flight, Some(3));
        assert_eq!(taken.upstreams.len(), running.upstreams.len() + 1);
    }

    const DENY: &str = "[upstreams.'docker.io']\ndeny = ['library/**']\n";
    const ALLOW: &str = "[upstreams.'docker.io']\nallow = ['team/**']\n";
    const LESS: &str = "[upstreams.'docker.io']\nallow = []\n";
    const BOTH: &str = "[upstreams.'docker.io']\nallow = ['team/**']\ndeny = ['library/**']\n";
    const OFF: &str = "default_registry = 'quay.io'\n[upstreams.'docker.io']\nenabled = false\n";
    const NAMED: &str = "default_registry = 'quay.io'\n[upstreams.'docker.io']\nallow = []\n";
    /// One of the family `*.gcr.io`, which is there without a table of one's own.
    const MEMBER: &str = "[upstreams.'eu.gcr.io']\ndeny = ['team/**']\n";
    const PRIVATE: &str = "[upstreams.'registry.example']\ndeny = ['team/**']\n";

    /// A file of which half was written when it was read has let everybody in, and one without its rules everybody with a login.
    #[test]
    fn a_mirror_that_is_closed_is_not_opened_while_it_runs() {
        let trusted = "[access]\ntrusted = ['10.0.0.0/8']\n";
        let more = "[access]\ntrusted = ['10.0.0.0/8', '192.0.2.1']\n";
        let rules =
            "[[access.rules]]\nclients = ['*']\nrepositories = ['quay.io/**']\nallow = true\n";
        let both = [more, rules].concat();
        let off = &["upstreams.\"docker.io\".enabled", "default_registry"];
        for (running, new, counts, staying) in [
            (trusted, "", trusted, &["access"][..]),
            (trusted, "[access]\n", trusted, &["access"]),
            (&both, "", &both, &["access"]),
            (&both, more, &both, &["access.rules"]),
            (trusted, more, more, &[]),
            (trusted, &both, &both, &[]),
            (&both, rules, rules, &[]),
            ("", trusted, trusted, &[]),
            (DENY, "", DENY, &["upstreams.\"docker.io\".deny"]),
            (DENY, ALLOW, BOTH, &["upstreams.\"docker.io\".deny"]),
            (BOTH, DENY, BOTH, &["upstreams.\"docker.io\".allow"]),
            (ALLOW, LESS, LESS, &[]),
            (DENY, OFF, OFF, &[]),
            (OFF, "", OFF, off),
            (OFF, DENY, OFF, off),
            (OFF, NAMED, OFF, &off[..1]),
            (MEMBER, "", MEMBER, &["upstreams.\"eu.gcr.io\""]),
            (PRIVATE, "", "", &[]),
        ] {
            let (taken, kept) = config(new).taking_effect(&config(running));
            assert_eq!(kept, staying, "{running}\n{new}");
            assert_eq!(taken, config(counts), "{running}\n{new}");
        }
    }

    /// Half of a file that ends after `key_file` let in who has no certificate.
    #[test]
    fn clients_that_need_a_certificate_need_one_while_the_mirror_runs() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new("all");
        let pair = authority.server(&["127.0.0.1"]);
        let [certificate, key] = pair.write(dir.path(), "server").unwrap();
        let [ca, other] = ["ca.crt", "other.crt"].map(|name| dir.path().join(name));
        for file in [&ca, &other] {
            std::fs::write(file, authority.pem()).unwrap();
        }
        let [certificate, key, ca, other] =
            [certificate, key, ca, other].map(|file| format!("'{}'", file.display()));
        for table in ["server.tls", "admin.tls"] {
            let none = format!("[{table}]\ncert_file = {certificate}\nkey_file = {key}\n");
            let required = format!("{none}client_ca_file = {ca}\n");
            let others = format!("{none}client_ca_file = {other}\n");
            let optional = format!("{required}client_certificates = 'optional'\n");
            let others_optional = format!("{others}client_certificates = 'optional'\n");
            let (file, word) = ("client_ca_file", "client_certificates");
            for (running, new, counts, staying) in [
                (&required, &none, &required, Some(file)),
                (&optional, &none, &optional, Some(file)),
                (&required, &optional, &required, Some(word)),
                // Another authority counts at once, and as it did.
                (&required, &others_optional, &others, Some(word)),
                (&required, &others, &others, None),
                (&optional, &required, &required, None),
                (&none, &optional, &optional, None),
            ] {
                let (taken, kept) = config(new).taking_effect(&config(running));
                let staying = staying.map(|key| format!("{table}.{key}"));
                assert_eq!(kept, Vec::from_iter(staying), "{running}\n{new}");
                assert_eq!(taken, config(counts), "{running}\n{new}");
            }
        }
    }

    #[test]
    fn the_same_configuration_changes_nothing() {
        let running = config("");
        let (taken, staying) = config("").taking_effect(&running);
        assert_eq!((taken, staying), (running, vec![]));
    }
}
