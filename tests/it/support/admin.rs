//! The admin API of a running server, as a program sees it.

use serde_json::{Value, json};

use super::http::{Reply, request};
use super::waiting::{PATIENCE, within};
use super::{Server, Workspace, run};

/// Somebody with a token.
pub struct Admin {
    address: String,
    token: String,
}

impl Workspace {
    /// Makes an admin token.
    pub fn admin_token(&self) -> String {
        let output = run(&["admin", "token", self.path().to_str().unwrap(), "--reset", "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        answer["token"].as_str().unwrap().to_owned()
    }
}

impl Admin {
    pub fn new(server: &Server, token: &str) -> Self {
        Self { address: server.admin.clone(), token: token.to_owned() }
    }

    pub fn token(&self) -> &str {
        &self.token
    }

    pub fn ask(&self, method: &str, path: &str, body: &[u8]) -> Reply {
        let authorization = format!("Bearer {}", self.token);
        request(&self.address, method, path, &[("authorization", &authorization)], body)
    }

    pub fn get(&self, path: &str) -> Value {
        let reply = self.ask("GET", path, b"");
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        reply.json()
    }

    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.ask("POST", path, body.to_string().as_bytes())
    }

    /// Uploads and waits for the end of the build.
    pub fn upload(&self, name: &str, component: &[u8]) -> Value {
        let reply = self.ask("POST", &format!("/admin/functions/{name}/versions"), component);
        assert_eq!(reply.status, 202, "{}", reply.text());
        self.built(reply.json()["build"].as_str().unwrap())
    }

    pub fn built(&self, build: &str) -> Value {
        within(PATIENCE, "the build ends", || {
            let answer = self.get(&format!("/admin/builds/{build}?wait_ms=20000"));
            let ended = answer["state"] == "ready" || answer["state"] == "failed";
            if ended { Ok(answer) } else { Err(answer.to_string()) }
        })
    }

    /// Uploads what must be taken; answers its sha-256.
    pub fn taken(&self, name: &str, component: &[u8]) -> String {
        let built = self.upload(name, component);
        assert_eq!(built["state"], "ready", "{built}");
        built["version"]["sha256"].as_str().unwrap().to_owned()
    }

    /// Uploads what must be refused; answers the code and the reason.
    pub fn refused(&self, name: &str, component: &[u8]) -> String {
        let built = self.upload(name, component);
        assert_eq!(built["state"], "failed", "{built}");
        let error = &built["error"];
        format!("{}: {}", error["code"].as_str().unwrap(), error["message"].as_str().unwrap())
    }

    /// Makes a version live.
    pub fn live(&self, name: &str, sha256: &str, settings: Value) {
        let body = json!({"sha256": sha256, "settings": settings});
        let reply = self.post(&format!("/admin/functions/{name}/live"), &body);
        assert_eq!(reply.status, 200, "{}", reply.text());
    }

    pub fn attach(&self, name: &str, source: &str) {
        let reply = self.post(&format!("/admin/functions/{name}/attach"), &json!({ "source": source }));
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
}
