//! How a worker sleeps, and how other threads end its sleep.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
        eventfd::{EfdFlags, EventFd},
    },
};

/// Ends a worker's sleep from any thread.
#[derive(Clone, Debug)]
pub struct Waker {
    event: Arc<EventFd>,
}

impl Waker {
    /// Ends the current sleep, or the next one.
    pub fn wake(&self) {
        // Fails only when the counter is full: then a wake is pending anyway.
        let _pending = self.event.write(1);
    }
}

/// Sleeps on a socket and on the waker's event.
#[derive(Debug)]
pub(super) struct Sleeper {
    epoll: Epoll,
    waker: Waker,
}

impl Sleeper {
    /// Watches `socket`, if there is one, and a new waker.
    pub(super) fn new(socket: Option<BorrowedFd<'_>>) -> io::Result<Self> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let readable = EpollEvent::new(EpollFlags::EPOLLIN, 0);
        epoll.add(event.as_fd(), readable)?;
        if let Some(socket) = socket {
            epoll.add(socket, readable)?;
        }
        Ok(Self {
            epoll,
            waker: Waker {
                event: Arc::new(event),
            },
        })
    }

    /// Returns when the socket is readable, the waker woke, or the time is over.
    pub(super) fn sleep(&self, timeout: Duration) -> io::Result<()> {
        let timeout = EpollTimeout::try_from(timeout).unwrap_or(EpollTimeout::MAX);
        let mut events = [EpollEvent::empty(); 2];
        match self.epoll.wait(&mut events, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        // Empty already (EAGAIN) when it was the socket that ended the sleep.
        let _count = self.waker.event.read();
        Ok(())
    }

    /// A handle to end the sleep.
    pub(super) fn waker(&self) -> Waker {
        self.waker.clone()
    }
}
