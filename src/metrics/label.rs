//! The values of every label.

/// Declares an enum whose variants are the only values of one label.
macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// The label's value, as Prometheus sees it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// Every value, each at the index that it has as a number.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];
        }
    };
}

label! {
    /// What a client asked for.
    RequestKind {
        /// `GET /v2/`.
        Ping = "ping",
        /// A manifest or index, by tag or digest.
        Manifest = "manifest",
        /// A blob, whole or a range.
        Blob = "blob",
        /// `tags/list`.
        Tags = "tags",
        /// `referrers`.
        Referrers = "referrers",
        /// `_catalog`.
        Catalog = "catalog",
        /// A path, method or name that is not served.
        Other = "other",
    }
}

label! {
    /// How a client's TLS handshake ended.
    Handshake {
        /// Both may speak.
        Done = "done",
        /// It spoke plain HTTP.
        PlainHttp = "plain_http",
        /// One of both refused the other, or it broke off.
        Failed = "failed",
        /// It did not come to its end in time.
        Late = "late",
    }
}

label! {
    /// What became of files that were read again.
    Loaded {
        /// They count from now on.
        New = "new",
        /// They can't be used; what was there before counts.
        Unusable = "unusable",
    }
}

label! {
    /// How the cache took part in an answer.
    Cache {
        /// Served from the cache.
        Hit = "hit",
        /// Served from the cache after its upstream confirmed it.
        Revalidated = "revalidated",
        /// Asked upstream for this request.
        Miss = "miss",
        /// Joined a fetch that another request had started.
        Collapsed = "collapsed",
        /// A bounded range of a running fill, not verified yet.
        Unverified = "unverified",
        /// Revalidated or refused upstream, and an old copy served.
        Stale = "stale",
        /// Passed through without being stored.
        Bypass = "bypass",
        /// The cache was not asked (pings, errors of the request).
        None = "none",
    }
}

label! {
    /// Where what a client was given of an upstream's came from.
    From {
        /// It was here, or on its way here: the upstream was not asked for it once more.
        Cache = "cache",
        /// Fetched for this request.
        Upstream = "upstream",
    }
}

label! {
    /// Why a response ended before its last byte.
    Abort {
        /// The client closed the connection or stopped reading.
        Client = "client",
        /// The source failed; the client sees FIN and may resume.
        Cut = "cut",
        /// The bytes were proven wrong; the client sees RST.
        Mismatch = "mismatch",
    }
}

label! {
    /// Which listener a connection belongs to.
    Listener {
        /// Registry clients.
        Clients = "clients",
        /// Operators.
        Admin = "admin",
    }
}

label! {
    /// Why the server ended or refused a connection on its own account.
    Closed {
        /// The request's head did not arrive in time, or an idle connection waited too long.
        HeaderTimeout = "header_timeout",
        /// A pending write made no progress.
        WriteIdle = "write_idle",
        /// A TLS hello on a plain port.
        TlsHello = "tls_hello",
        /// The connection cap was reached when its response began.
        Cap = "cap",
        /// Nothing was asked for on it, and another needed its place.
        Spared = "spared",
        /// There was no place for it.
        Full = "full",
        /// The drain's time was over.
        Drain = "drain",
        /// A proxy's connection did not begin with a PROXY protocol header.
        ProxyHeader = "proxy_header",
        /// Its client's certificate did not count any more, and one was required.
        Certificate = "certificate",
        /// Its client had as many connections as it may have, and there was no time to tell it.
        ClientCap = "client_cap",
    }
}

label! {
    /// What one client may take.
    ClientLimit {
        /// Requests a second.
        Requests = "requests",
        /// Requests at once.
        InFlight = "in_flight",
        /// Bytes a second.
        Bytes = "bytes",
        /// Connections.
        Connections = "connections",
    }
}

label! {
    /// What was asked of an upstream.
    UpstreamKind {
        /// `HEAD` of a manifest: free of quota on Docker Hub.
        ManifestHead = "manifest_head",
        /// `GET` of a manifest: what quotas count.
        ManifestGet = "manifest_get",
        /// `GET` of a blob, whole or a range.
        BlobGet = "blob_get",
        /// A confirmation that a repository holds a blob.
        BlobConfirm = "blob_confirm",
        /// `tags/list`.
        Tags = "tags",
        /// `referrers`.
        Referrers = "referrers",
    }
}

label! {
    /// How a request to an upstream, or a token fetch, ended.
    UpstreamOutcome {
        /// Answered as asked.
        Ok = "ok",
        /// 404.
        NotFound = "not_found",
        /// 401 after a fresh token, or 403.
        Denied = "denied",
        /// 429, or the local quota.
        TooManyRequests = "too_many_requests",
        /// No connection: DNS, connect or TLS.
        Connect = "connect",
        /// No head, or no byte, in time.
        Timeout = "timeout",
        /// 5xx.
        ServerError = "server_error",
        /// The body ended short.
        Cut = "cut",
        /// An answer that breaks the protocol.
        Invalid = "invalid",
        /// Refused by the address or realm policy before it was sent.
        Policy = "policy",
        /// Not sent, since its host has kept failing.
        Breaker = "breaker",
    }
}

label! {
    /// What keeps a pull from being made.
    QuotaLimit {
        /// The quota that the upstream reports.
        Reported = "reported",
        /// The one that is configured.
        Configured = "configured",
        /// The upstream has asked to be left alone.
        Closed = "closed",
        /// What there is, as far as is known, is under way or waited for by others.
        Busy = "busy",
    }
}

label! {
    /// How waiting for a quota ended.
    WaitOutcome {
        /// With a pull.
        Admitted = "admitted",
        /// Without one.
        Refused = "refused",
    }
}

label! {
    /// How a fill ended.
    FillOutcome {
        /// Verified and committed.
        Committed = "committed",
        /// Verified, but not stored: no room, or a store fault.
        Uncached = "uncached",
        /// Nobody read it for the linger time; the partial file is kept.
        Paused = "paused",
        /// Every source failed.
        Failed = "failed",
        /// The bytes do not hash to the digest.
        Mismatch = "mismatch",
    }
}

label! {
    /// Why a stale tag or list was served. As it stands in `Cache-Status`, too.
    StaleReason {
        /// The upstream did not answer, or answered 5xx.
        Unavailable = "upstream-unavailable",
        /// The upstream is answering, and has not come to the end in time: a list of many pages.
        Slow = "upstream-slow",
        /// The upstream answered 429, or its quota is used up.
        Quota = "upstream-quota",
        /// The upstream says that there is no such tag any more, and the operator keeps those (`keep_deleted`).
        Deleted = "upstream-deleted",
        /// The operator allows it while a refresh runs (`stale_while_revalidate`).
        Revalidating = "revalidating",
    }
}

label! {
    /// How a request for a tag was decided.
    TagOutcome {
        /// Served as it was last confirmed: that was a moment ago.
        Fresh = "fresh",
        /// Its upstream confirmed what was known of it.
        Renewed = "renewed",
        /// Its upstream says that it points elsewhere now, or that there is one.
        Moved = "moved",
        /// Served as it was last confirmed: its upstream could not tell, or is being asked.
        Stale = "stale",
        /// There is no such tag, as remembered or just learned.
        Missing = "missing",
        /// Its upstream refused or failed, and nothing could be served.
        Failed = "failed",
    }
}

label! {
    /// How a client's login at its upstream ended.
    LoginOutcome {
        /// The upstream knows it, or nobody has logged in.
        Accepted = "accepted",
        /// The upstream does not take it.
        Refused = "refused",
        /// The upstream could not be asked.
        Failed = "failed",
    }
}

label! {
    /// How a check of a repository's right to a private blob ended.
    RightsOutcome {
        /// The upstream holds it in that repository.
        Confirmed = "confirmed",
        /// The upstream does not hold it there, or forbids it.
        Refused = "refused",
        /// The upstream could not be asked.
        Failed = "failed",
    }
}

label! {
    /// The store operation that met a fault.
    StoreOp {
        /// Opening or creating a file.
        Open = "open",
        /// Reading a body.
        Read = "read",
        /// Writing a partial file.
        Write = "write",
        /// `fdatasync`, or the directory's sync.
        Sync = "sync",
        /// Moving a finished file into place.
        Rename = "rename",
        /// Removing a file.
        Unlink = "unlink",
        /// The index.
        Index = "index",
    }
}

label! {
    /// What happened to a file that the start-up sweep found outside the index.
    Swept {
        /// Hashed right, and entered into the index.
        Adopted = "adopted",
        /// Removed.
        Removed = "removed",
    }
}

label! {
    /// How bytes of a stored blob were read.
    ReadPath {
        /// From the page cache, on the async thread.
        Resident = "resident",
        /// From the page cache to a socket, by `sendfile`.
        Sendfile = "sendfile",
        /// On the blocking pool.
        Pool = "pool",
    }
}

label! {
    /// What became of a request where not everybody may pull everything.
    AccessOutcome {
        /// It was let in.
        Permitted = "permitted",
        /// Nobody has logged in for it, and a login might help.
        LoginNeeded = "login_needed",
        /// Whoever asks may not.
        Denied = "denied",
        /// Its login is wrong.
        WrongLogin = "wrong_login",
        /// There have been too many wrong logins from where it comes.
        TooMany = "too_many_logins",
        /// Too many passwords wait to be checked.
        Busy = "busy",
    }
}
