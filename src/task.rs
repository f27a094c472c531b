//! Threads and their turn on the processor.

/// Makes the calling thread give way to those that accept events. Delivery is work that can wait, the log keeps it;
/// a client that waits for its answer cannot. Where the system does not allow it, nothing changes.
pub fn give_way() {
    const NICE: i32 = 5;
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
}
