use tidegate_stream_suite::stream_suite;

use crate::rig::MemoryRig;

stream_suite!(MemoryRig<false>);
