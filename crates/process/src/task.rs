//! Threads and their turn on the processor.

/// Makes the calling thread give way to those that accept events. Delivery is work that can wait, the log keeps it;
/// a client that waits for its answer cannot. Where the system does not allow it, nothing changes.
pub fn give_way() {
    nice(5);
}

/// Makes the calling thread take what all others leave.
pub fn give_way_to_all() {
    nice(15);
}

fn nice(level: i32) {
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), level);
}
