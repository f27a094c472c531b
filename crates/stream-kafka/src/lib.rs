//! Kafka: a carrier of streams.
//!
//! Nouns: a **connection** (brokers, TLS, SASL), a **member** (this reader in its consumer group), a **claim** (a partition that the group
//! has given to this member; given again it is another claim), an **acknowledged offset** (what comes next in a partition after
//! everything that is in the log).
//!
//! Guarantees:
//! * An offset is committed to the group only after its receipt came, and only under the claim that it was read under.
//! * A committed offset is all that a member leaves behind: whoever gets the partition next reads from there.
//! * Messages of a topic that was made anew under its name have positions of their own, and are taken for no others.
//! * What a broker has deleted before it was read is told loudly, with how many messages that were.
//! * What is written in transactions is there once for who reads what was committed: messages and **ledger** (a record that says how far a
//!   sync is) count together, a writer that was replaced writes nothing more, and the ledger is read only after that.
//!
//! This room knows no mapping, no log and no configuration text.

mod connection;
mod error;
mod ledger_topic;
mod origin;
mod plain_writer;
mod reader;
mod target;
mod token;
mod topics;
mod transactional_writer;
mod writer;
mod written_topics;

pub use connection::{KafkaConnection, KafkaIdentity, KafkaSasl, KafkaTls, PasswordMechanism};
pub use origin::KafkaOrigin;
pub use reader::KafkaStart;
pub use target::{KafkaCompression, KafkaTarget};
pub use token::TokenEndpoint;
pub use topics::{KafkaTopics, LEDGER_TOPIC};

#[cfg(test)]
mod tests;
