//! Where events enter.
//!
//! Nouns: a **source** (a name, write keys, the way events come in), a **dialect** (how one family of SDKs talks).
//! The HTTP source speaks the dialects of Segment, RudderStack and Hightouch on one port; webhooks come to the same port. Streams are read where
//! their messages are. A source answers
//! "accepted" only after the intake log has the record on disk, and one bad event never costs its neighbours.
//! This room does not judge events; it takes bytes, finds their bounds and notes what is plainly wrong with them.

pub mod http;
pub mod streams;
pub mod webhook;
