//! How many files and sockets the process may have open, and who gets how many of them.
//!
//! Clients get what is left when the log, the state, the warehouses and requests to far hosts have their reserve: a flood
//! of connections must not keep the log from its next segment.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Connections that a port gets whatever the limit is; below it nothing could be served at all.
const CONNECTIONS_MIN: usize = 16;
const RESERVE_MIN: u64 = 128;

/// What the limit on descriptors leaves for connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    pub ingest: usize,
    pub admin: usize,
    /// Descriptors that the process may have.
    pub limit: u64,
}

/// Raises the soft limit on open descriptors to the hard one; answers the limit. Call it once at the start.
#[must_use]
pub fn raise() -> u64 {
    let mut limits = getrlimit(Resource::Nofile);
    if limits.current != limits.maximum {
        limits.current = limits.maximum;
        // Where the system refuses it, the soft limit stays, and is read again below.
        let _ = setrlimit(Resource::Nofile, limits);
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Shares the limit out between the ports. To be asked when all files are open, so that they are counted.
#[must_use]
pub fn shares(limit: u64, ingest_asked: usize, admin_asked: usize) -> Shares {
    let open = std::fs::read_dir("/proc/self/fd").map_or(64, |entries| entries.count() as u64);
    share_out(limit, open, ingest_asked, admin_asked)
}

fn share_out(limit: u64, open: u64, ingest_asked: usize, admin_asked: usize) -> Shares {
    let reserve = open + RESERVE_MIN.max(limit / 5);
    let free = usize::try_from(limit.saturating_sub(reserve)).unwrap_or(usize::MAX);
    let admin = admin_asked.min((free / 8).max(CONNECTIONS_MIN));
    let ingest = ingest_asked.min(free.saturating_sub(admin).max(CONNECTIONS_MIN));
    Shares { ingest, admin, limit }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_get_what_the_reserve_leaves() {
        let of = |limit| {
            let Shares { ingest, admin, .. } = share_out(limit, 40, 4096, 64);
            (ingest, admin)
        };
        assert_eq!(of(1 << 20), (4096, 64));
        assert_eq!(of(1024), (716, 64));
        assert_eq!(of(256), (72, 16));
        assert_eq!(of(64), (16, 16));
    }
}
