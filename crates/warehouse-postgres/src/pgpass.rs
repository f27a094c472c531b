//! Passwords from a file as libpq reads it: `host:port:database:user:password`, the first line that fits.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tokio_postgres::config::Host;

use super::address::Address;
use super::error::PostgresError;

/// More than this is no file of passwords.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The password for the address, of the first host that has one; `None` where the file is missing or knows none.
pub(super) fn password(address: &Address) -> Result<Option<String>, PostgresError> {
    let Some(path) = &address.passfile else { return Ok(None) };
    let Ok(about) = std::fs::metadata(path) else { return Ok(None) };
    let unusable = |problem: &str| PostgresError::File { path: path.clone(), problem: problem.to_owned() };
    if !about.is_file() || about.len() > FILE_BYTES_MAX {
        return Err(unusable("it is no file of passwords"));
    }
    if about.permissions().mode() & 0o077 != 0 {
        return Err(unusable("others than its owner may read it; run `chmod 600` on it"));
    }
    let text = read(path).map_err(|error| unusable(&error.to_string()))?;
    let ports = address.config.get_ports();
    for (at, host) in address.config.get_hosts().iter().enumerate() {
        let port = ports.get(at).or(ports.first()).copied().unwrap_or(5432).to_string();
        let host = match host {
            Host::Tcp(name) => name.as_str(),
            Host::Unix(_) => "localhost",
        };
        let wanted = [host, &port, address.dbname(), address.user()];
        if let Some(password) = text.lines().find_map(|line| fits(line, &wanted)) {
            return Ok(Some(password));
        }
    }
    Ok(None)
}

fn read(path: &Path) -> std::io::Result<String> {
    tidegate_document::file::read_text(path, FILE_BYTES_MAX)
}

/// The password of a line that fits.
fn fits(line: &str, wanted: &[&str; 4]) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let mut fields = vec![String::new()];
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => fields.last_mut()?.extend(chars.next()),
            ':' if fields.len() < 5 => fields.push(String::new()),
            c => fields.last_mut()?.push(c),
        }
    }
    let stars = line.split(':').map(|field| field == "*");
    let fit = fields.len() == 5
        && fields.iter().zip(stars).zip(wanted).all(|((field, star), wanted)| star || field == wanted);
    if fit { fields.pop() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_fits_by_its_fields_and_stars() {
        let wanted = ["db:1", "5432", "shop", "ann"];
        assert_eq!(fits(r"db\:1:5432:shop:ann:p\:w\\x", &wanted), Some(r"p:w\x".to_owned()));
        assert_eq!(fits(r"*:*:*:ann:with:colon", &["h", "1", "d", "ann"]), Some("with:colon".to_owned()));
        assert_eq!(fits(r"*:*:*:bob:pw", &wanted), None);
        assert_eq!(fits("# *:*:*:*:pw", &wanted), None);
        assert_eq!(fits("broken", &wanted), None);
    }
}
