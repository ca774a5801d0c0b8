//! How the network is reached: through which proxy, with how much patience, and what a failure is called.

use std::io::ErrorKind;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ureq::config::Config;
use ureq::http::header::LOCATION;
use ureq::http::{Response, Uri};
use ureq::{Agent, Body, Proxy, ProxyProtocol};
use url::Url;

use super::forward;
use crate::error::Error;

/// How many redirections of one request are followed.
const MOST_REDIRECTIONS: usize = 10;

/// How the network is reached: through which proxies, and with how much patience.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Address of the proxy for `https` addresses.
    pub https_proxy: Option<String>,
    /// Address of the proxy for `http` addresses.
    pub http_proxy: Option<String>,
    /// Hosts that are reached without a proxy, each with the hosts below it; `*` stands for all.
    pub no_proxy: Vec<String>,
    /// How long to wait for a connection, for an answer, and for each further part of the answer.
    pub patience: Duration,
}

impl Network {
    /// Reads the environment as other programs do: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` for both, and `NO_PROXY`
    /// (hosts, separated by commas). Each may also be in lower case, which then wins.
    pub fn from_env() -> Self {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// Reads the settings from `variable` instead of the environment.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| {
            let value = variable(&name.to_lowercase()).filter(|value| !value.is_empty());
            value.or_else(|| variable(name).filter(|value| !value.is_empty()))
        };
        let proxy = |name: &str| set(name).or_else(|| set("ALL_PROXY"));
        let hosts = set("NO_PROXY").unwrap_or_default();
        Self {
            https_proxy: proxy("HTTPS_PROXY"),
            http_proxy: proxy("HTTP_PROXY"),
            no_proxy: hosts.split(',').map(|host| host.trim().to_owned()).filter(|host| !host.is_empty()).collect(),
            patience: Duration::from_secs(60),
        }
    }

    /// Makes the proxy for an address out of its own address.
    fn proxy(&self, address: &str) -> crate::Result<Proxy> {
        let bad = |_| {
            let example = "http://user:password@host:port";
            Error::Usage(format!(
                "`{address}` is no address of a proxy; it looks like {example} (HTTPS_PROXY, HTTP_PROXY)"
            ))
        };
        let parsed = Proxy::new(address).map_err(bad)?;
        let mut proxy = Proxy::builder(parsed.protocol()).host(parsed.host()).port(parsed.port());
        if let Some(user) = parsed.username() {
            proxy = proxy.username(user);
        }
        if let Some(password) = parsed.password() {
            proxy = proxy.password(password);
        }
        for host in &self.no_proxy {
            let host = host.trim_start_matches('.');
            proxy = proxy.no_proxy(host).no_proxy(&format!(".{host}"));
        }
        proxy.build().map_err(bad)
    }

    /// Returns the settings of agents, with the proxy that they ask for tunnels.
    fn config(&self, proxy: Option<Proxy>) -> Config {
        let patience = Some(self.patience);
        let config = Agent::config_builder()
            .proxy(proxy)
            .user_agent(concat!("mkgc/", env!("CARGO_PKG_VERSION")))
            // Ranges and lengths are those of the file itself only if nobody packs it on the way.
            .accept_encoding("identity")
            .http_status_as_error(false)
            // Each redirection is followed with the proxy of its host.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_resolve(patience)
            .timeout_connect(patience)
            .timeout_recv_response(patience)
            .timeout_per_read(patience);
        config.build()
    }

    /// Makes the agent for hosts behind a proxy. `forward` is whether the proxy is asked for whole addresses if it can
    /// be; otherwise it is asked for tunnels.
    fn behind(&self, address: &str, forward: bool) -> crate::Result<Behind> {
        let proxy = self.proxy(address)?;
        let agent = if forward && proxy.protocol() == ProxyProtocol::Http {
            let password = proxy.password().unwrap_or_default();
            let basic = |user| format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
            forward::agent(self.config(None), proxy.uri().clone(), proxy.username().map(basic))
        } else {
            self.config(Some(proxy.clone())).into()
        };
        Ok(Behind { proxy, agent })
    }
}

/// A proxy, and the agent for hosts behind it.
struct Behind {
    proxy: Proxy,
    agent: Agent,
}

/// Sends requests, each through the proxy of its scheme.
pub(super) struct Client {
    direct: Agent,
    https: Option<Behind>,
    http: Option<Behind>,
    patience: Duration,
}

impl Client {
    /// Prepares for requests; none is sent yet.
    ///
    /// # Errors
    /// The address of a proxy cannot be read.
    pub(super) fn new(network: &Network) -> crate::Result<Self> {
        let behind = |address: &Option<String>, forward| {
            address.as_deref().map(|address| network.behind(address, forward)).transpose()
        };
        Ok(Self {
            direct: network.config(None).into(),
            https: behind(&network.https_proxy, false)?,
            http: behind(&network.http_proxy, true)?,
            patience: network.patience,
        })
    }

    /// Asks for a file from byte `start` on and follows redirections. The server may answer with all of the file, or
    /// refuse it.
    ///
    /// # Errors
    /// There is no answer; says in plain words why.
    pub(super) fn get(&self, address: &str, start: u64) -> Result<Response<Body>, String> {
        let mut address = address.to_owned();
        for _ in 0..=MOST_REDIRECTIONS {
            let request = self.agent(&address)?.get(&address);
            let request = if start > 0 { request.header("Range", format!("bytes={start}-")) } else { request };
            let response = request.call().map_err(|error| self.reason(&error))?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
            let moved = Url::parse(&address).and_then(|base| base.join(location));
            address = moved.map_err(|_| format!("it is redirected to `{location}`, which is no address"))?.into();
        }
        Err("it is redirected without end".to_owned())
    }

    fn agent(&self, address: &str) -> Result<&Agent, String> {
        let no_address = |_: ureq::http::uri::InvalidUri| format!("`{address}` is no http or https address");
        let uri: Uri = address.parse().map_err(no_address)?;
        let behind = match uri.scheme_str() {
            Some("https") => &self.https,
            _ => &self.http,
        };
        let behind = behind.as_ref().filter(|behind| !behind.proxy.is_no_proxy(&uri));
        Ok(behind.map_or(&self.direct, |behind| &behind.agent))
    }

    /// Says in plain words why a request failed.
    pub(super) fn reason(&self, error: &ureq::Error) -> String {
        match error {
            ureq::Error::Timeout(_) => format!("no answer within {} s", self.patience.as_secs_f64()),
            ureq::Error::HostNotFound => unknown_host(),
            ureq::Error::ConnectProxyFailed(reason) => format!("the proxy lets nothing through: {reason}"),
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => "this is no http or https address".to_owned(),
            ureq::Error::Io(error) => match error.kind() {
                ErrorKind::ConnectionRefused => "the connection was refused".to_owned(),
                ErrorKind::UnexpectedEof
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe => "the connection was cut".to_owned(),
                ErrorKind::TimedOut | ErrorKind::WouldBlock => {
                    format!("no answer within {} s", self.patience.as_secs_f64())
                }
                _ if error.to_string().contains("lookup address") => unknown_host(),
                _ => error.to_string(),
            },
            error => error.to_string(),
        }
    }
}

fn unknown_host() -> String {
    "the host is unknown; without a direct way to the network, set HTTPS_PROXY".to_owned()
}

#[cfg(test)]
mod tests {
    use ureq::http::Uri;

    use super::*;

    fn network(variables: &[(&str, &str)]) -> Network {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
        Network::from_variables(|name| find(name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn each_scheme_has_its_proxy_and_lower_case_wins() {
        let both =
            network(&[("HTTPS_PROXY", "http://a:1"), ("https_proxy", "http://b:2"), ("HTTP_PROXY", "http://c:3")]);
        assert_eq!((both.https_proxy.as_deref(), both.http_proxy.as_deref()), (Some("http://b:2"), Some("http://c:3")));
        let all = network(&[("ALL_PROXY", "http://d:4"), ("HTTP_PROXY", "")]);
        assert_eq!((all.https_proxy.as_deref(), all.http_proxy.as_deref()), (Some("http://d:4"), Some("http://d:4")));
        assert_eq!(network(&[]).https_proxy, None);
    }

    #[test]
    fn hosts_of_no_proxy_and_those_below_them_are_reached_directly() {
        let network = network(&[("no_proxy", "localhost, example.org,.inner.net")]);
        let proxy = network.proxy("http://user:secret@proxy:3128").unwrap();
        let direct = |address: &'static str| proxy.is_no_proxy(&Uri::from_static(address));
        assert!(direct("http://localhost/x") && direct("https://example.org/x") && direct("https://a.inner.net/x"));
        assert!(direct("https://data.example.org/x"));
        assert!(!direct("https://notexample.org/x") && !direct("https://raw.githubusercontent.com/x"));
        assert_eq!((proxy.host(), proxy.port()), ("proxy", 3128));
        assert_eq!((proxy.username(), proxy.password()), (Some("user"), Some("secret")));
    }

    #[test]
    fn a_proxy_that_is_no_address_is_named() {
        let error = Client::new(&network(&[("HTTPS_PROXY", "foo://bar baz")])).err().unwrap().to_string();
        assert!(error.starts_with("`foo://bar baz` is no address of a proxy"), "{error}");
    }
}
