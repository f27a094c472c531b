//! What a contract makes of one event.

use std::sync::Arc;

use tidegate_contract::{Action, BrokenRules, Contract};
use tidegate_event::{Event, ViolationRecord};
use tidegate_state::{QuarantineStage, Quarantined};

/// What a contract made of an event.
#[derive(Debug)]
pub struct Judged {
    /// As it goes on; `None` when it goes no further.
    pub event: Option<Event>,
    pub violation: Option<ViolationRecord>,
    pub quarantined: Option<Quarantined>,
    /// What is undeclared and allowed, by name.
    pub undeclared: Vec<String>,
    /// What of the contract it breaks; nothing where there is no violation.
    pub broken: BrokenRules,
}

impl Judged {
    /// An event that nothing is said against.
    pub(super) fn unbroken(event: Event) -> Self {
        let (undeclared, broken) = (Vec::new(), BrokenRules::default());
        Self { event: Some(event), violation: None, quarantined: None, undeclared, broken }
    }
}

/// Judges one event by the contract of its source.
#[must_use]
pub fn judged(contract: &Contract, mut event: Event) -> Judged {
    let verdict = contract.judge(event.kind, &mut event.body);
    let undeclared = verdict.undeclared;
    let Some(violation) = verdict.violation else {
        return Judged { undeclared, ..Judged::unbroken(event) };
    };
    let code = if violation.has_undeclared_schema {
        "undeclared-event"
    } else if violation.has_schema_violated {
        "schema-violation"
    } else {
        "undeclared-field"
    };
    let blocked = verdict.action == Action::Block;
    let quarantined = blocked.then(|| Quarantined {
        id: event.id,
        stage: QuarantineStage::Contract.as_str(),
        scope: event.source.to_string(),
        code: code.to_owned(),
        message: violation.violations.join("; "),
        event: violation.payload.clone().into_bytes(),
        at_us: event.received_at_us,
        detail: None,
    });
    let record = ViolationRecord {
        source: Arc::clone(&event.source),
        position: event.id.position,
        message_id: event.message_id().to_owned(),
        received_at_us: event.received_at_us,
        payload: violation.payload,
        event_name: violation.event_name,
        event_type: violation.event_type,
        schema_version: violation.schema_version,
        has_undeclared_schema: violation.has_undeclared_schema,
        has_undeclared_fields: violation.has_undeclared_fields,
        has_schema_violated: violation.has_schema_violated,
        violations: violation.violations,
    };
    let broken = violation.broken;
    Judged { event: (!blocked).then_some(event), violation: Some(record), quarantined, undeclared, broken }
}
