//! Where a value comes from: the template, the file, the environment, the command line, and of whom an upstream
//! inherits it.

use std::time::Duration;

use super::*;
use crate::config::{Credentials, Proxy, render};

#[test]
fn the_default_serves_this_machine_from_the_users_cache() {
    let config = Config::load(sources()).unwrap();
    assert_eq!(config.server.listen, ["127.0.0.1:5000".parse().unwrap()]);
    assert_eq!(config.admin.listen, Some("127.0.0.1:5001".parse().unwrap()));
    assert_eq!(config.cache.dir, Path::new("/home/me/.cache/forebay"));
    assert_eq!(config.default_registry.as_str(), "docker.io");
    assert_eq!(config.limits.max_connections, None);
    let names: Vec<_> = config
        .upstreams
        .iter()
        .map(|upstream| upstream.registry.to_string())
        .collect();
    assert_eq!(
        names,
        [
            "*.gcr.io",
            "*.pkg.dev",
            "docker.io",
            "ecr",
            "gcr.io",
            "ghcr.io",
            "mcr.microsoft.com",
            "public.ecr.aws",
            "quay.io",
            "registry.k8s.io",
        ]
    );
    let hub = upstream(&config, "docker.io");
    assert_eq!(hub.endpoints[0].as_str(), "https://registry-1.docker.io/");
    assert_eq!(hub.credentials, Credentials::None);
    assert!(hub.public.matches(&"library/nginx".parse().unwrap()));
    assert_eq!(
        upstream(&config, "quay.io").endpoints[0].as_str(),
        "https://quay.io/"
    );
    assert!(upstream(&config, "ecr").endpoints.is_empty());
}

#[test]
fn without_a_home_it_is_said_what_to_set() {
    let homeless = || Sources {
        user_cache: None,
        user_logins: None,
        ..sources()
    };
    let told = errors(Config::load(homeless()));
    let wanted = "cache.dir: there is no home directory to keep the cache in: set `dir`, FOREBAY_CACHE__DIR or --cache-dir";
    assert!(told.len() == 1 && told[0].ends_with(wanted), "{told:?}");
    let overrides = Overrides {
        cache_dir: Some("/var/cache/forebay".into()),
        ..Overrides::default()
    };
    assert!(
        Config::load(Sources {
            overrides,
            ..homeless()
        })
        .is_ok()
    );
    assert!(
        Config::load(Sources {
            environment: variables(&[("FOREBAY_CACHE__DIR", "/x")]),
            ..homeless()
        })
        .is_ok()
    );
}

#[test]
fn later_sources_override_earlier_ones() {
    let text =
        "[cache]\nmax_size = '10GiB'\nmin_free = '2GiB'\ndir = '/file'\n[server]\ndrain = '1s'\n";
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f.toml");
    fs::write(&file, text).unwrap();
    let environment = variables(&[
        ("FOREBAY_CACHE__MAX_SIZE", "20GiB"),
        ("FOREBAY_CACHE__DIR", "/variable"),
        ("FOREBAY_CACHE__OPEN_FILES", "7"),
        ("FOREBAY_CACHE__STRICT_RANGES", "true"),
        ("FOREBAY_SERVER__LISTEN", "127.0.0.1:1, [::1]:2"),
        ("FOREBAY_UPSTREAMS__DOCKERHUB__PUBLIC", ""),
    ]);
    let overrides = Overrides {
        cache_dir: Some("/flag".into()),
        ..Overrides::default()
    };
    let config = Config::load(Sources {
        file: Some(file),
        environment,
        overrides,
        ..sources()
    })
    .unwrap();
    assert_eq!(config.cache.dir, Path::new("/flag"));
    assert_eq!(
        (config.cache.max_size, config.cache.min_free),
        (20 << 30, 2 << 30)
    );
    assert_eq!(
        (config.cache.open_files, config.cache.strict_ranges),
        (7, true)
    );
    assert_eq!(config.server.drain, Duration::from_secs(1));
    assert_eq!(
        config.server.listen,
        ["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()]
    );
    assert!(upstream(&config, "docker.io").public.patterns().is_empty());

    let overrides = Overrides {
        listen: vec!["0.0.0.0:80".parse().unwrap()],
        ..Overrides::default()
    };
    let environment = variables(&[("FOREBAY_SERVER__LISTEN", "127.0.0.1:1")]);
    let config = Config::load(Sources {
        environment,
        overrides,
        ..sources()
    })
    .unwrap();
    assert_eq!(config.server.listen, ["0.0.0.0:80".parse().unwrap()]);
}

#[test]
fn an_upstream_can_be_taken_away() {
    let config = load_text("[upstreams.'ghcr.io']\nenabled = false").unwrap();
    assert!(
        config
            .upstreams
            .iter()
            .all(|upstream| upstream.registry.to_string() != "ghcr.io")
    );
    // The printed configuration brought it back.
    assert_eq!(load_text(&render(&config)).unwrap(), config);
}

#[test]
fn an_upstream_inherits_what_it_does_not_say() {
    let text = "[tags]\nfresh_for = '5m'\n[fetch]\nconnections_per_upstream = 9\n[timeouts]\nconnect = '1s'\n\
        [upstreams.'a.io']\ntags = { stale_for = '1d' }\ntimeouts = { body_idle = '7s' }\n\
        [upstreams.'b.io']\nmax_connections = 2\n";
    let config = load_text(text).unwrap();
    let (a, b) = (upstream(&config, "a.io"), upstream(&config, "b.io"));
    assert_eq!(a.tags.fresh_for, Duration::from_mins(5));
    assert_eq!(a.tags.stale_for, Duration::from_hours(24));
    assert_eq!(
        (a.timeouts.connect, a.timeouts.body_idle),
        (Duration::from_secs(1), Duration::from_secs(7))
    );
    assert_eq!((a.max_connections, b.max_connections), (9, 2));
    assert_eq!(b.tags, config.tags);
}

#[test]
fn a_password_comes_from_a_file_beside_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f.toml");
    let load = |secret: &[u8]| {
        fs::write(
            &file,
            "[upstreams.'a.io']\nusername = 'me'\npassword_file = 'secret'\n",
        )
        .unwrap();
        fs::write(dir.path().join("secret"), secret).unwrap();
        Config::load(Sources {
            file: Some(file.clone()),
            ..sources()
        })
    };
    for (secret, password) in [
        ("s3cret\n", "s3cret"),
        ("s3cret\r\n", "s3cret"),
        (" s3 \n\n", " s3 \n"),
        ("x", "x"),
    ] {
        let config = load(secret.as_bytes()).unwrap();
        let Credentials::Password {
            username,
            password: read,
            ..
        } = &upstream(&config, "a.io").credentials
        else {
            panic!()
        };
        assert_eq!((username.as_str(), read.expose()), ("me", password));
    }
    for secret in [&b"\n"[..], b"", b"\xff\n"] {
        assert!(
            errors(load(secret))[0].starts_with("f.toml:3: upstreams.\"a.io\".password_file: ")
        );
    }
    fs::remove_file(dir.path().join("secret")).unwrap();
    let told = errors(Config::load(Sources {
        file: Some(file.clone()),
        ..sources()
    }));
    assert!(
        told[0].contains("secret cannot be read: No such file"),
        "{told:?}"
    );
}

#[test]
fn of_two_passwords_the_later_source_counts() {
    let text = "[upstreams.'a.io']\nalias = 'a'\nusername = 'me'\npassword_file = '/nonexistent'\n";
    let config = load_with(text, &[("FOREBAY_UPSTREAMS__A__PASSWORD", "hunter2")]).unwrap();
    let Credentials::Password { password, .. } = &upstream(&config, "a.io").credentials else {
        panic!()
    };
    assert_eq!(password.expose(), "hunter2");
    let both = format!("{text}password = 'hunter2'\n");
    let told = errors(load_text(&both));
    assert_eq!(
        told,
        ["f.toml:5: upstreams.\"a.io\".password: `password_file` is set too: write one of them"]
    );
}

/// What is needed to reach `a.io`, written in `text` and these variables.
fn proxy_login(text: &str, environment: &[(&str, &str)]) -> (String, String) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("secret"), "of the file\n").unwrap();
    let file = dir.path().join("f.toml");
    fs::write(&file, format!("[upstreams.'a.io']\nalias = 'a'\n{text}")).unwrap();
    let config = Config::load(Sources {
        file: Some(file),
        environment: variables(environment),
        ..sources()
    });
    let config = config.unwrap();
    let Proxy::Server(server) = &upstream(&config, "a.io").proxy else {
        panic!()
    };
    let (username, password) = server.login.clone().unwrap();
    (username, password.expose().to_owned())
}

#[test]
fn a_proxys_password_comes_from_its_url_a_file_or_the_environment() {
    let with_file = "http_proxy = 'http://ci@p.io:3128'\nhttp_proxy_password_file = 'secret'\n";
    let variable = [(
        "FOREBAY_UPSTREAMS__A__HTTP_PROXY",
        "http://me:of%20the%20variable@p.io:3128",
    )];
    for (text, environment, (username, password)) in [
        (
            "http_proxy = 'http://ci:pw@p.io:3128'\n",
            &[][..],
            ("ci", "pw"),
        ),
        (with_file, &[], ("ci", "of the file")),
        (with_file, &variable, ("me", "of the variable")),
        ("", &variable, ("me", "of the variable")),
    ] {
        let read = proxy_login(text, environment);
        assert_eq!(read, (username.to_owned(), password.to_owned()), "{text}");
    }
    let direct = [("FOREBAY_UPSTREAMS__DOCKERHUB__HTTP_PROXY", "direct")];
    let config = load_with(
        "[upstreams.'docker.io']\nhttp_proxy = 'http://p.io:3128'\n",
        &direct,
    );
    let config = config.unwrap();
    assert_eq!(upstream(&config, "docker.io").proxy, Proxy::Direct);
    assert_eq!(upstream(&config, "ghcr.io").proxy, Proxy::System);
}
