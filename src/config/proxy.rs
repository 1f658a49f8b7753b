//! Reads how an upstream is reached: as the environment says, straight, or through a proxy of its own. A proxy's URL may
//! hold a password, so that no message repeats any part of it.

use percent_encoding::percent_decode_str;
use url::Url;

use super::credentials::either;
use super::secret::Secret;
use super::section::{Reported, Section};
use super::tree::Node;
use super::values::{path, text};

/// What `http_proxy` says where no proxy is wanted.
pub(super) const DIRECT: &str = "direct";

/// How an upstream is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// As the environment says: `HTTPS_PROXY`, `NO_PROXY` and so on.
    System,
    /// Straight, whatever the environment says.
    Direct,
    /// Through this one, whatever the environment says.
    Server(ProxyServer),
}

/// A proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyServer {
    url: Url,
    /// Its user and password.
    pub login: Option<(String, Secret)>,
}

impl ProxyServer {
    /// Scheme, host and port.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// As it is written, but for its password.
    pub(super) fn redacted(&self) -> String {
        let (scheme, host) = (self.url.scheme(), self.url.host_str().unwrap_or_default());
        let port = self.url.port_or_known_default().unwrap_or_default();
        let login = self.login.as_ref().map(|(username, password)| {
            let mut url = self.url.clone();
            let _ = url.set_username(username);
            let (colon, password) = match password.expose() {
                "" => ("", ""),
                _ => (":", Secret::REDACTED),
            };
            format!("{}{colon}{password}@", url.username())
        });
        format!("{scheme}://{}{host}:{port}", login.unwrap_or_default())
    }
}

/// `http_proxy` and `http_proxy_password_file`.
pub(super) fn read(section: &Section<'_>) -> Result<Proxy, Reported> {
    let proxy = section.optional("http_proxy", proxy);
    let file = section.optional("http_proxy_password_file", path);
    match (proxy?, file?) {
        (proxy, None) => Ok(proxy.unwrap_or(Proxy::System)),
        (Some(Proxy::Server(mut server)), Some(path)) => {
            let Some((username, inline)) = server.login else {
                return Err(no_user(section));
            };
            let inline = Some(inline).filter(|password| !password.expose().is_empty());
            let keys = ("http_proxy", "http_proxy_password_file");
            let password = either(section, keys, inline, Some(path))?;
            server.login = password.map(|(password, _)| (username, password));
            Ok(Proxy::Server(server))
        }
        (_, Some(_)) => Err(no_user(section)),
    }
}

fn no_user(section: &Section<'_>) -> Reported {
    let message =
        "there is no user for it: write one into `http_proxy`, as in \"http://USER@HOST:PORT\"";
    section.complain("http_proxy_password_file", message.into())
}

fn proxy(node: &Node) -> Result<Proxy, String> {
    match text(node)? {
        DIRECT => Ok(Proxy::Direct),
        text => server(text).map(Proxy::Server).ok_or_else(|| {
            "this is no proxy: write \"http://HOST:PORT\" or \"http://USER:PASSWORD@HOST:PORT\", with %2F and the like \
             for what means something in a URL, or \"direct\" for none"
                .to_owned()
        }),
    }
}

/// `None` for what is no proxy.
fn server(text: &str) -> Option<ProxyServer> {
    let mut url = Url::parse(text).ok()?;
    let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if !matches!(url.scheme(), "http" | "https") || !is_bare {
        return None;
    }
    let decoded = |text: &str| {
        let text = percent_decode_str(text).decode_utf8().ok()?;
        Some(text.into_owned())
    };
    let username = decoded(url.username())?;
    let password = decoded(url.password().unwrap_or_default())?;
    if username.contains(':') {
        return None;
    }
    let has_login = !username.is_empty() || !password.is_empty();
    url.set_username("").ok()?;
    url.set_password(None).ok()?;
    Some(ProxyServer {
        url,
        login: has_login.then(|| (username, Secret::new(password))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(text: &str) -> Option<(String, String)> {
        let (username, password) = server(text).unwrap().login?;
        Some((username, password.expose().to_owned()))
    }

    #[test]
    fn a_login_is_taken_out_of_the_url_and_decoded() {
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        for (text, wanted) in [
            ("http://p.io:3128", None),
            ("http://ci@p.io:3128/", pair("ci", "")),
            ("http://ci:pw@p.io:3128", pair("ci", "pw")),
            ("http://ci:p@w@p.io:3128", pair("ci", "p@w")),
            (
                "http://d%5Cci:p%2Fw%25%C3%BC@p.io:3128",
                pair("d\\ci", "p/w%ü"),
            ),
            ("https://ci:pw@[::1]", pair("ci", "pw")),
        ] {
            assert_eq!(login(text), wanted, "{text}");
            let url = server(text).unwrap().url().to_string();
            assert!(!url.contains("ci"), "{url}");
        }
    }

    #[test]
    fn what_is_no_proxy_is_refused() {
        for text in [
            "p.io:3128",
            "socks5://p.io:1080",
            "http://",
            "http://p.io:3128/path",
            "http://p.io:3128/?q",
            "http://ci:1/2@p.io:3128",
            "http://ci:1#2@p.io:3128",
            "http://c%3Ai:pw@p.io:3128",
            "http://ci:%FF@p.io:3128",
        ] {
            assert_eq!(server(text), None, "{text}");
        }
    }

    #[test]
    fn a_proxy_is_shown_with_its_port_and_without_its_password() {
        let shown = |text| server(text).unwrap().redacted();
        assert_eq!(shown("http://P.io"), "http://p.io:80");
        assert_eq!(shown("https://[::1]"), "https://[::1]:443");
        assert_eq!(shown("http://ci@p.io:3128"), "http://ci@p.io:3128");
        assert_eq!(
            shown("http://d%5Cci:pw@p.io:3128"),
            "http://d%5Cci:[redacted]@p.io:3128"
        );
    }
}
