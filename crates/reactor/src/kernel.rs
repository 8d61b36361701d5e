//! The submission and completion queues, and all memory that the kernel reads or writes: the only `unsafe` code.
//!
//! What makes it sound:
//! - The kernel *writes* received bytes only into the [`Pool`], which lives as long as the queues. A buffer is the
//!   kernel's until a completion names it, then ours until it is given back; only bytes of ours are ever shown.
//! - The kernel *reads* what is sent only from the [`Arena`], and only within [`Kernel::enter`]: sends are asked for
//!   with `MSG_DONTWAIT`, which makes the kernel end them there and then instead of keeping them for later. Time stamps
//!   of alarms lie in the arena too; the kernel copies them when it takes the entry.
//! - The queues are made and used on one thread (`IORING_SETUP_SINGLE_ISSUER`), and the kernel does deferred work only
//!   within `enter` (`IORING_SETUP_DEFER_TASKRUN`; Linux 6.1), so nothing is written to behind our back.

#![expect(unsafe_code, reason = "memory is shared with the kernel; the module's documentation says why it is sound")]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use io_uring::types::{BufRingEntry, Fd, Fixed, TimeoutFlags, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use rustix::process::{Resource, getrlimit};

/// Entries of the submission queue: a round of that many sends and receives leaves in one call, more in several.
const SUBMISSIONS: u32 = 512;
/// Entries of the completion queue; the kernel keeps what does not fit.
const COMPLETIONS: u32 = 4096;
/// Receive buffers, a power of two: as many sessions may have unread bytes before receives have to wait.
const BUFFERS: u16 = 256;
/// Room of each: a hundred rows in one piece. Of a buffer that only ever saw small answers only a page is resident.
const BUFFER_BYTES: usize = 16 << 10;
/// Room for what leaves in one call.
const ARENA_BYTES: usize = 64 << 10;
/// Sockets that the kernel need not look up by their descriptor in every request; more go by their descriptor.
const FILES_MAX: u32 = 16 << 10;
/// What the kernel wants queues of buffers aligned to.
const PAGE_BYTES: usize = 4 << 10;
/// The only group of receive buffers.
const GROUP: u16 = 0;

/// `MSG_DONTWAIT | MSG_NOSIGNAL | MSG_WAITALL` of `<sys/socket.h>`: the send ends within the call, whole or cut short,
/// and one that was cut short counts as failed, so that it is heard of.
const SEND_FLAGS: i32 = 0x40 | 0x4000 | 0x100;
/// `POLLOUT` of `<poll.h>`.
const POLLOUT: u32 = 4;
/// Empties a place for a registered file.
const NO_FILE: RawFd = -1;

/// The queues.
pub(crate) struct Kernel {
    // Dropped first: nothing is received into the pool any more once the queues are gone.
    queues: IoUring,
    pool: Pool,
    arena: Arena,
    /// Places for registered files.
    files: u32,
}

/// A socket as requests name it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// By its place among the registered files.
    Registered(u32),
    /// By its descriptor, which must stay open until the requests for it have completed.
    Descriptor(RawFd),
}

/// What ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Completion {
    /// As given with the request.
    pub(crate) tag: u64,
    /// Bytes, or the negative error number.
    pub(crate) result: i32,
    /// Whether the request goes on and will complete again.
    pub(crate) more: bool,
    /// The buffer that bytes were received into. It is ours until it is given back.
    pub(crate) buffer: Option<Buffer>,
}

/// A receive buffer that is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Buffer(u16);

/// Bytes in the arena, until the next send is queued after an [`enter`](Kernel::enter).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Region {
    start: usize,
    length: usize,
}

impl Region {
    /// How many bytes there are.
    pub(crate) fn length(self) -> usize {
        self.length
    }
}

impl Kernel {
    /// Queues and buffers.
    ///
    /// # Errors
    /// Where the kernel is older than Linux 6.1, `io_uring` is forbidden, or memory is short.
    pub(crate) fn new() -> io::Result<Self> {
        let queues: IoUring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)?;
        // Saves the kernel the look-up of our descriptor in every call; where it cannot be had all works without.
        let _ = queues.submitter().register_ring_fd();
        let pool = Pool::new(BUFFERS, BUFFER_BYTES);
        // SAFETY: the pool's queue is valid for BUFFERS entries and is freed after `queues` (order of fields).
        unsafe {
            queues.submitter().register_buf_ring_with_flags(pool.queue.as_ptr().addr() as u64, BUFFERS, GROUP, 0)?;
        }
        // No more than the process may have open.
        let files = getrlimit(Resource::Nofile).current.map_or(FILES_MAX, |limit| FILES_MAX.min(limit as u32));
        let files = queues.submitter().register_files_sparse(files).map_or(0, |()| files);
        Ok(Self { queues, pool, arena: Arena::new(), files })
    }

    /// Registers a socket at a place where none is.
    pub(crate) fn register(&mut self, socket: BorrowedFd<'_>, place: u32) -> Target {
        let descriptor = socket.as_raw_fd();
        if place < self.files && self.queues.submitter().register_files_update(place, &[descriptor]).is_ok() {
            return Target::Registered(place);
        }
        Target::Descriptor(descriptor)
    }

    /// Forgets a socket for which all requests have completed.
    pub(crate) fn unregister(&mut self, socket: Target) {
        if let Target::Registered(place) = socket {
            let _ = self.queues.submitter().register_files_update(place, &[NO_FILE]);
        }
    }

    /// Receives from a socket until that fails; every part completes with a buffer. `false` where the queue is full.
    pub(crate) fn receive(&mut self, socket: Target, tag: u64) -> bool {
        let entry = match socket {
            Target::Registered(place) => opcode::RecvMulti::new(Fixed(place), GROUP).build(),
            Target::Descriptor(descriptor) => opcode::RecvMulti::new(Fd(descriptor), GROUP).build(),
        };
        self.push(&entry.user_data(tag))
    }

    /// Sends as many of the bytes as there is room for; none where there is none before the next
    /// [`enter`](Self::enter). Completes only where it fails or is cut short.
    pub(crate) fn send(&mut self, socket: Target, bytes: &[u8], tag: u64) -> Region {
        if self.queues.submission().is_full() {
            return Region::default();
        }
        let region = self.arena.append(bytes);
        if region.length > 0 {
            let (address, length) = (self.arena.address(region), region.length as u32);
            let entry = match socket {
                Target::Registered(place) => opcode::Send::new(Fixed(place), address, length).flags(SEND_FLAGS).build(),
                Target::Descriptor(descriptor) => {
                    opcode::Send::new(Fd(descriptor), address, length).flags(SEND_FLAGS).build()
                }
            };
            let pushed = self.push(&entry.user_data(tag).flags(squeue::Flags::SKIP_SUCCESS));
            debug_assert!(pushed, "there was room a moment ago");
        }
        region
    }

    /// What was sent from a region; to be asked before the next send.
    pub(crate) fn sent(&self, region: Region) -> &[u8] {
        self.arena.bytes(region)
    }

    /// Completes once the socket can be written to. `false` where the queue is full.
    pub(crate) fn await_writable(&mut self, socket: Target, tag: u64) -> bool {
        let entry = match socket {
            Target::Registered(place) => opcode::PollAdd::new(Fixed(place), POLLOUT).build(),
            Target::Descriptor(descriptor) => opcode::PollAdd::new(Fd(descriptor), POLLOUT).build(),
        };
        self.push(&entry.user_data(tag))
    }

    /// Completes at that time since the start of the monotonic clock. `false` where there is no room.
    pub(crate) fn alarm(&mut self, at: Duration, tag: u64) -> bool {
        if self.queues.submission().is_full() {
            return false;
        }
        let Some(time) = self.arena.timespec(at) else { return false };
        let entry = opcode::Timeout::new(time).flags(TimeoutFlags::ABS).build().user_data(tag);
        self.push(&entry)
    }

    /// Submits all that is queued, and waits for a completion where it is told to.
    pub(crate) fn enter(&mut self, wait: bool) -> io::Result<()> {
        match self.queues.submit_and_wait(usize::from(wait)) {
            Ok(_) => {}
            // A signal, or completions that must be taken first: the caller comes back.
            Err(error) if matches!(error.raw_os_error(), Some(EINTR | EBUSY | EAGAIN)) => {}
            Err(error) => return Err(error),
        }
        let mut submissions = self.queues.submission();
        submissions.sync();
        if submissions.is_empty() {
            self.arena.is_stale = true;
        }
        Ok(())
    }

    /// Whether something was queued and not submitted.
    pub(crate) fn has_queued(&mut self) -> bool {
        !self.queues.submission().is_empty()
    }

    /// The next completion that is there.
    pub(crate) fn next(&mut self) -> Option<Completion> {
        let entry = self.queues.completion().next()?;
        let buffer = cqueue::buffer_select(entry.flags()).map(|number| self.pool.take(number));
        Some(Completion { tag: entry.user_data(), result: entry.result(), more: cqueue::more(entry.flags()), buffer })
    }

    /// The bytes of a buffer that is ours.
    pub(crate) fn bytes(&self, buffer: Buffer) -> &[u8] {
        self.pool.bytes(buffer)
    }

    /// Gives a buffer back to be received into.
    pub(crate) fn give(&mut self, buffer: Buffer) {
        self.pool.give(buffer);
    }

    /// From here on the event descriptor is written to whenever something completes.
    pub(crate) fn signal(&self, event: BorrowedFd<'_>) -> io::Result<()> {
        self.queues.submitter().register_eventfd(event.as_raw_fd())
    }

    fn push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: the entry's memory is the pool's or the arena's, whose use the module's documentation describes; its
        // descriptor is checked by the kernel.
        unsafe { self.queues.submission().push(entry).is_ok() }
    }
}

/// Error numbers of Linux.
const EINTR: i32 = 4;
const EAGAIN: i32 = 11;
const EBUSY: i32 = 16;

/// Receive buffers, and the queue in which those that are the kernel's stand.
struct Pool {
    queue: NonNull<BufRingEntry>,
    queue_layout: Layout,
    buffers: NonNull<u8>,
    buffers_layout: Layout,
    buffer_bytes: usize,
    /// By number: whether it is ours.
    ours: Vec<bool>,
    /// Entries put into the queue so far, wrapping.
    tail: u16,
}

impl Pool {
    /// `count` (a power of two) buffers, all of them the kernel's.
    fn new(count: u16, buffer_bytes: usize) -> Self {
        assert!(count.is_power_of_two(), "positions are found by a mask");
        let entries = usize::from(count);
        let layout = |bytes| Layout::from_size_align(bytes, PAGE_BYTES).expect("a few pages");
        let queue_layout = layout(entries * size_of::<BufRingEntry>());
        let buffers_layout = layout(entries * buffer_bytes);
        let mut pool = Self {
            queue: allocate(queue_layout).cast(),
            queue_layout,
            buffers: allocate(buffers_layout),
            buffers_layout,
            buffer_bytes,
            ours: vec![true; entries],
            tail: 0,
        };
        for number in 0..count {
            pool.give(Buffer(number));
        }
        pool
    }

    /// A completion named that buffer: it is ours.
    fn take(&mut self, number: u16) -> Buffer {
        let ours = &mut self.ours[usize::from(number)];
        assert!(!*ours, "the kernel named a buffer that it did not have");
        *ours = true;
        Buffer(number)
    }

    fn bytes(&self, Buffer(number): Buffer) -> &[u8] {
        assert!(self.ours[usize::from(number)], "the buffer is the kernel's");
        // SAFETY: the buffer lies within the allocation, which was zeroed and is only written to by the kernel while it
        // is the kernel's; it is ours, and stays so while `self` is borrowed, as giving it back needs `&mut self`.
        unsafe { std::slice::from_raw_parts(self.address(number), self.buffer_bytes) }
    }

    /// A buffer is the kernel's again.
    fn give(&mut self, Buffer(number): Buffer) {
        assert!(std::mem::take(&mut self.ours[usize::from(number)]), "the buffer was given back already");
        let position = usize::from(self.tail) & (self.ours.len() - 1);
        // SAFETY: the position is within the queue. The kernel does not look at it before the tail has passed it.
        let entry = unsafe { self.queue.add(position).as_ptr() };
        let address = self.address(number).expose_provenance() as u64;
        // SAFETY: as above; fields are written one by one because the first entry's unused one is the queue's tail.
        unsafe {
            (*entry).set_addr(address);
            (*entry).set_len(self.buffer_bytes as u32);
            (*entry).set_bid(number);
        }
        self.tail = self.tail.wrapping_add(1);
        self.shared_tail().store(self.tail, Ordering::Release);
    }

    /// Where the kernel sees how many entries there are.
    fn shared_tail(&self) -> &AtomicU16 {
        // SAFETY: the queue's first entry holds the tail (io_uring_buf_ring of <linux/io_uring.h>), two-byte aligned; it
        // is accessed by nothing but atomics, by us and the kernel.
        unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.queue.as_ptr()).cast_mut()) }
    }

    fn address(&self, number: u16) -> *mut u8 {
        // SAFETY: `ours` was indexed by the number, or it is below their count: within the allocation.
        unsafe { self.buffers.add(usize::from(number) * self.buffer_bytes).as_ptr() }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: allocated with these layouts; the queues, and with them the kernel's use, are gone.
        unsafe {
            dealloc(self.queue.as_ptr().cast(), self.queue_layout);
            dealloc(self.buffers.as_ptr(), self.buffers_layout);
        }
    }
}

/// What leaves with the next call.
struct Arena {
    memory: NonNull<u8>,
    layout: Layout,
    used: usize,
    /// All of it has left: the next to be appended starts anew.
    is_stale: bool,
}

impl Arena {
    fn new() -> Self {
        let layout = Layout::from_size_align(ARENA_BYTES, PAGE_BYTES).expect("a few pages");
        Self { memory: allocate(layout), layout, used: 0, is_stale: false }
    }

    /// Copies as many bytes as there is room for.
    fn append(&mut self, bytes: &[u8]) -> Region {
        self.renew();
        let region = Region { start: self.used, length: bytes.len().min(ARENA_BYTES - self.used) };
        // SAFETY: the region lies within the allocation and is in nobody's use: it was not given out since the last call.
        unsafe { self.memory.add(region.start).as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), region.length) };
        self.used += region.length;
        region
    }

    /// Puts a time where the kernel can read it.
    fn timespec(&mut self, at: Duration) -> Option<*const Timespec> {
        self.renew();
        let start = self.used.next_multiple_of(align_of::<Timespec>());
        let end = start + size_of::<Timespec>();
        if end > ARENA_BYTES {
            return None;
        }
        self.used = end;
        // SAFETY: within the allocation, aligned, and not given out since the last call.
        let place = unsafe { self.memory.add(start).cast::<Timespec>().as_ptr() };
        let time = Timespec::new().sec(at.as_secs()).nsec(at.subsec_nanos());
        // SAFETY: as above.
        unsafe { place.write(time) };
        Some(place)
    }

    fn bytes(&self, region: Region) -> &[u8] {
        // SAFETY: regions are given out within the allocation, and are not written to while `self` is borrowed.
        unsafe { std::slice::from_raw_parts(self.address(region), region.length) }
    }

    fn address(&self, region: Region) -> *const u8 {
        // SAFETY: as above.
        unsafe { self.memory.add(region.start).as_ptr() }
    }

    fn renew(&mut self) {
        if std::mem::take(&mut self.is_stale) {
            self.used = 0;
        }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout; the kernel reads it only within calls.
        unsafe { dealloc(self.memory.as_ptr(), self.layout) };
    }
}

fn allocate(layout: Layout) -> NonNull<u8> {
    // SAFETY: no layout here is of size zero.
    NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    /// Does to a pool what the kernel does: takes the entry at its head, and writes through the address in it.
    struct FakeKernel {
        head: u16,
    }

    impl FakeKernel {
        fn receive(&mut self, pool: &Pool, bytes: &[u8]) -> Option<u16> {
            if self.head == pool.shared_tail().load(Ordering::Acquire) {
                return None;
            }
            let position = usize::from(self.head) & (pool.ours.len() - 1);
            // SAFETY: as the kernel does it: between head and tail, entries are its to read and buffers its to write.
            let number = unsafe {
                let entry = pool.queue.add(position).as_ptr();
                let buffer = std::ptr::with_exposed_provenance_mut::<u8>((*entry).addr() as usize);
                assert!(bytes.len() <= (*entry).len() as usize, "the buffer is large enough");
                buffer.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
                (*entry).bid()
            };
            self.head = self.head.wrapping_add(1);
            Some(number)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            // Miri has no files to keep failures in, and takes a thousand times as long.
            failure_persistence: None,
            cases: if cfg!(miri) { 8 } else { 256 },
            ..ProptestConfig::default()
        })]

        #[test]
        fn buffers_hold_what_was_received_until_they_are_given_back(
            steps in prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..16)), 0..200)
        ) {
            let (mut pool, mut kernel) = (Pool::new(8, 16), FakeKernel { head: 0 });
            let mut held: VecDeque<(Buffer, Vec<u8>)> = VecDeque::new();
            for step in steps {
                if let Some(bytes) = step {
                    let received = kernel.receive(&pool, &bytes);
                    prop_assert_eq!(received.is_none(), held.len() == 8, "only a pool that is used up has no buffer");
                    held.extend(received.map(|number| (pool.take(number), bytes)));
                } else if let Some((buffer, _)) = held.pop_front() {
                    pool.give(buffer);
                }
                for (buffer, bytes) in &held {
                    prop_assert_eq!(&pool.bytes(*buffer)[..bytes.len()], &bytes[..]);
                }
            }
        }

        #[test]
        fn the_arena_keeps_what_was_appended_until_it_has_left(
            rounds in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20), 0..5)
        ) {
            let mut arena = Arena::new();
            for round in rounds {
                let regions: Vec<Region> = round.iter().map(|bytes| arena.append(bytes)).collect();
                let time = arena.timespec(Duration::new(3, 5)).expect("there is room");
                prop_assert_eq!(time.align_offset(align_of::<Timespec>()), 0);
                for (bytes, region) in round.iter().zip(&regions) {
                    prop_assert_eq!(arena.bytes(*region), &bytes[..]);
                }
                arena.is_stale = true;
            }
        }
    }

    #[test]
    fn a_full_arena_takes_what_fits() {
        let mut arena = Arena::new();
        assert_eq!(arena.append(&vec![1; ARENA_BYTES - 3]).length, ARENA_BYTES - 3);
        assert!(arena.timespec(Duration::ZERO).is_none());
        assert_eq!(arena.append(&[2; 10]).length, 3);
        assert_eq!(arena.append(&[3]).length, 0);
        arena.is_stale = true;
        assert_eq!(arena.append(&[4]).start, 0);
    }
}
