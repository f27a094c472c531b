//! (being built)
pub enum Outcome {
    Keep,
    Replace(String),
    Emit(Vec<String>),
    Drop(String),
    Fail { kind: String, code: String, message: String },
    Fault { code: String, message: String },
}
pub struct RunContext {
    pub now_ms: u64,
    pub seed: u64,
}
pub struct Ran {
    pub outcomes: Vec<Outcome>,
}
pub struct Function {
    name: String,
}
impl Function {
    pub fn name(&self) -> &str {
        &self.name
    }
    pub async fn run(&self, batch: &[String], _cx: RunContext) -> Ran {
        Ran { outcomes: batch.iter().map(|_| Outcome::Keep).collect() }
    }
    pub fn load(
        _e: &crate::wasm::Engine,
        name: &str,
        _b: &[u8],
        _s: String,
        _l: crate::wasm::Limits,
    ) -> Result<Self, std::io::Error> {
        Ok(Self { name: name.into() })
    }
}
