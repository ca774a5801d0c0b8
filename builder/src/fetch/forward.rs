//! Plain `http` through a proxy: the proxy is asked for the whole address (RFC 9112, section 3.2.2).
//!
//! ureq asks every proxy for a tunnel (`CONNECT`), but many let tunnels through to port 443 alone. An [`agent`] of this
//! module connects to the proxy whatever the host, and writes the request line `GET http://host/path` instead of
//! `GET /path`. The traits are those that ureq calls unversioned, so a new version of ureq may ask for changes here.

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, TcpConnector, Transport};
use ureq::{Agent, Error};

/// Makes an agent for `http` addresses behind a proxy. `authorization` is the value of the header
/// `Proxy-Authorization`. The configuration must name no proxy and follow no redirections, which may lead to hosts that
/// are not behind this proxy.
pub(super) fn agent(config: Config, proxy: Uri, authorization: Option<String>) -> Agent {
    let connector = ().chain(TcpConnector::default()).chain(WholeAddress { authorization });
    Agent::with_parts(config, connector, AtProxy { proxy, resolver: DefaultResolver::default() })
}

/// Finds every host where the proxy is.
#[derive(Debug)]
struct AtProxy {
    proxy: Uri,
    resolver: DefaultResolver,
}

impl Resolver for AtProxy {
    fn resolve(&self, _: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        self.resolver.resolve(&self.proxy, config, timeout)
    }
}

/// Wraps connections so that requests name the whole address.
#[derive(Debug)]
struct WholeAddress {
    authorization: Option<String>,
}

impl<T: Transport> Connector<T> for WholeAddress {
    type Out = Forwarded<T>;

    fn connect(&self, details: &ConnectionDetails<'_>, chained: Option<T>) -> Result<Option<Forwarded<T>>, Error> {
        let host = details.uri.authority().map_or("", |authority| authority.as_str());
        let prefix = format!("http://{host}");
        let header = self.authorization.as_ref().map(|value| format!("Proxy-Authorization: {value}\r\n"));
        Ok(chained.map(|inner| Forwarded { inner, prefix, header: header.unwrap_or_default() }))
    }
}

/// A connection to a proxy that forwards requests to one host.
#[derive(Debug)]
struct Forwarded<T> {
    inner: T,
    prefix: String,
    header: String,
}

/// What a request of this module starts with.
const METHOD: &[u8] = b"GET ";

impl<T: Transport> Transport for Forwarded<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    /// Requests have no body, so what is sent at once is the head of one.
    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let output = self.inner.buffers().output();
        let head = output[..amount].to_vec();
        let line_end = head.windows(2).position(|bytes| bytes == b"\r\n").map(|end| end + 2);
        let (Some(target), Some(line_end)) = (head.strip_prefix(METHOD), line_end) else {
            return self.inner.transmit_output(amount, timeout);
        };
        let rest_of_line = &target[..line_end - METHOD.len()];
        let parts = [METHOD, self.prefix.as_bytes(), rest_of_line, self.header.as_bytes(), &head[line_end..]];
        let head = parts.concat();
        let room = output.get_mut(..head.len()).ok_or(Error::LargeResponseHeader(head.len(), amount))?;
        room.copy_from_slice(&head);
        self.inner.transmit_output(head.len(), timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }
}
