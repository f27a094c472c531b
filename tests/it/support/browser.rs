//! What a browser does with cookies, without a browser.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Server;
use super::http::{Reply, request};

/// The cookies of one browser, at one server.
pub struct CookieJar {
    pub address: String,
    pub cookies: BTreeMap<String, String>,
}

impl CookieJar {
    pub fn new(server: &Server) -> Self {
        Self { address: server.admin.clone(), cookies: BTreeMap::new() }
    }

    /// Sends exactly these headers beside the cookies, and keeps the cookies of the answer.
    pub fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send_text(method, path, headers, &body)
    }

    fn send_text(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let mut headers = headers.to_vec();
        if !cookies.is_empty() {
            headers.push(("cookie", cookies.as_str()));
        }
        let reply = request(&self.address, method, path, &headers, body.as_bytes());
        for (_, value) in reply.headers.iter().filter(|(name, _)| name == "set-cookie") {
            let (name, value) = value.split(';').next().unwrap().split_once('=').unwrap();
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        reply
    }

    /// As a page of the server itself sends it.
    pub fn ask(&mut self, method: &str, path: &str, body: &Value) -> Reply {
        let origin = format!("http://{}", self.address);
        let headers: &[(&str, &str)] = &[("origin", origin.as_str()), ("sec-fetch-site", "same-origin")];
        self.send(method, path, if method == "GET" { &[] } else { headers }, body)
    }

    /// Sends a form of a page of the server itself.
    pub fn form(&mut self, path: &str, fields: &str) -> Reply {
        let origin = format!("http://{}", self.address);
        self.form_from(&origin, path, fields)
    }

    /// Sends a form of a page of this origin.
    pub fn form_from(&mut self, origin: &str, path: &str, fields: &str) -> Reply {
        let headers = [("content-type", "application/x-www-form-urlencoded"), ("origin", origin)];
        self.send_text("POST", path, &headers, fields)
    }

    pub fn sign_in(&mut self, name: &str, password: &str) -> Reply {
        self.ask("POST", "/api/v1/login", &serde_json::json!({"name": name, "password": password}))
    }
}
