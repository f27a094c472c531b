//! Names to addresses, with every address that is not on the internet dropped.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

use super::address::is_global;
use super::policy::{Policy, private};

/// A boxed look-up.
pub type Resolver = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Looks names up.
pub trait Resolve: Send + Sync {
    /// The addresses of `host`, which is a name and no address.
    fn resolve(&self, host: &str) -> Resolver;
}

/// What the operating system says.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str) -> Resolver {
        let host = host.to_owned();
        Box::pin(async move { Ok(tokio::net::lookup_host((host, 0)).await?.map(|found| found.ip()).collect()) })
    }
}

/// The only resolver that a connection is made with. Whatever it answers is what is connected to.
#[derive(Clone)]
pub(super) struct Guarded {
    pub(super) resolver: Arc<dyn Resolve>,
    pub(super) policy: Arc<Policy>,
}

/// No address is known for a name.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(super) struct UnknownName(io::Error);

type ResolvedAddresses = Result<std::vec::IntoIter<SocketAddr>, Box<dyn std::error::Error + Send + Sync>>;

impl Service<Name> for Guarded {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = ResolvedAddresses> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (resolver, policy) = (Arc::clone(&self.resolver), Arc::clone(&self.policy));
        Box::pin(async move {
            let host = name.as_str();
            let found = resolver.resolve(host).await.map_err(UnknownName)?;
            let granted = policy.grants(host);
            let (kept, dropped): (Vec<IpAddr>, Vec<IpAddr>) =
                found.into_iter().partition(|address| granted || is_global(*address));
            if kept.is_empty() && !dropped.is_empty() {
                return Err(private(host, &dropped).into());
            }
            let kept: Vec<SocketAddr> = kept.into_iter().map(|address| SocketAddr::new(address, 0)).collect();
            Ok(kept.into_iter())
        })
    }
}
