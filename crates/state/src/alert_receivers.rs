//! Receivers of a mail who are told by themselves, after the others: each waits under a channel of its own, in order.

use rusqlite::params;

use super::alerts::{bound, end, note};
use super::{AlertEvent, State, StateError, WaitingMessage};

/// Who has not got a message that others have.
#[derive(Debug, Clone, Copy, Default)]
pub struct LeftReceivers<'a> {
    /// Each as a channel.
    pub channels: &'a [String],
    /// Why they have not.
    pub error: &'a str,
    /// Microseconds since the epoch.
    pub at_us: i64,
    /// When it is sent to them, microseconds since the epoch.
    pub next_at_us: i64,
}

impl State {
    /// A message is over for who has got it, and waits for the others under channels of their own. `event` says who was told, if anybody was.
    ///
    /// # Errors
    /// Nothing was recorded, and it is sent again.
    pub fn split_alert_message(
        &mut self,
        message: &WaitingMessage,
        event: Option<&AlertEvent>,
        left: &LeftReceivers<'_>,
    ) -> Result<(), StateError> {
        let WaitingMessage { alert, changes, at_us, .. } = message;
        self.in_transaction(true, |connection| {
            let sql = "INSERT INTO alert_messages (alert, channel, changes, at_us, next_at_us, attempts, error)
                VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6)";
            for channel in left.channels {
                let values = params![alert, channel, changes, at_us, left.next_at_us, left.error];
                connection.prepare_cached(sql)?.execute(values)?;
                bound(connection, alert, channel)?;
            }
            end(connection, message, left.at_us)?;
            event.map_or(Ok(()), |event| note(connection, event))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::AlertStep;
    use super::*;

    #[test]
    fn who_has_not_got_a_message_waits_for_it_in_order_while_others_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::open(&dir.path().join("state.db")).unwrap();
        let channels = ["mail".to_owned()];
        let (one, two) = (["1".to_owned()], ["2".to_owned()]);
        let step = AlertStep { alert: "a", channels: &channels, at_us: 5, due_us: 6, ..AlertStep::default() };
        state.step_alert(&AlertStep { changes: &one, ..step.clone() }).unwrap();
        state.step_alert(&AlertStep { changes: &two, at_us: 7, due_us: 8, ..step }).unwrap();
        let to = ["mail b@example.com".to_owned()];
        let left = LeftReceivers { channels: &to, error: "no room", at_us: 10, next_at_us: 20 };
        for _ in 0..2 {
            let due = state.alert_messages(10, 10).unwrap();
            assert_eq!(due.len(), 1, "the other one has to wait");
            state.split_alert_message(&due[0], None, &left).unwrap();
        }
        assert!(state.alert_messages(19, 10).unwrap().is_empty());
        for changes in ["1", "2"] {
            let due = state.alert_messages(20, 10).unwrap();
            let found: Vec<(&str, &str)> = due.iter().map(|one| (&*one.channel, &*one.changes)).collect();
            assert_eq!(found, [("mail b@example.com", changes)]);
            state.end_alert_message(&due[0], &AlertEvent::default()).unwrap();
        }
        assert!(state.waiting_alert_messages(10).unwrap().is_empty());
    }
}
