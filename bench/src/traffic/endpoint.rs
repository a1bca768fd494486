//! Somewhere that traffic starts: a namespace and the address to send from.

use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

use crate::testbed::{Client, During as _, Host, Namespace, Pod, Result};

/// A namespace and one of its addresses.
#[derive(Clone, Debug)]
pub struct Endpoint {
    namespace: Namespace,
    address: IpAddr,
}

impl Endpoint {
    /// An endpoint at any address of a namespace.
    #[must_use]
    pub fn new(namespace: &Namespace, address: IpAddr) -> Self {
        Self {
            namespace: namespace.clone(),
            address,
        }
    }

    /// The address that traffic starts from.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The namespace of the endpoint.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Opens a TCP connection from the address; reads and writes on it have the same time limit.
    ///
    /// # Errors
    /// When it is refused, or not open within the time.
    pub fn connect(&self, to: SocketAddr, within: Duration) -> Result<TcpStream> {
        self.namespace.enter(|| {
            let connected = self.connect_here(to, within);
            connected.during(|| format!("connect {} to {to}", self.address))
        })
    }

    /// Standard sockets can't be bound before they connect.
    fn connect_here(&self, to: SocketAddr, within: Duration) -> nix::Result<TcpStream> {
        let family = if to.is_ipv4() {
            AddressFamily::Inet
        } else {
            AddressFamily::Inet6
        };
        let opened = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        let limit = TimeVal::new(i64::try_from(within.as_secs()).unwrap_or(i64::MAX), 0);
        // connect(2) ends with EINPROGRESS after the send timeout.
        setsockopt(&opened, sockopt::SendTimeout, &limit)?;
        setsockopt(&opened, sockopt::ReceiveTimeout, &limit)?;
        bind(
            opened.as_raw_fd(),
            &SockaddrStorage::from(SocketAddr::new(self.address, 0)),
        )?;
        connect(opened.as_raw_fd(), &SockaddrStorage::from(to))?;
        Ok(TcpStream::from(opened))
    }

    /// Opens a UDP socket at the address, with a read timeout.
    ///
    /// # Errors
    /// When it can't be bound.
    pub fn udp(&self, read_timeout: Duration) -> Result<UdpSocket> {
        self.namespace.enter(|| {
            let opened = UdpSocket::bind((self.address, 0));
            let opened = opened.during(|| format!("bind UDP to {}", self.address))?;
            let limited = opened.set_read_timeout(Some(read_timeout));
            limited.during(|| "set a read timeout".to_owned())?;
            Ok(opened)
        })
    }

    /// Sends one datagram and waits for the answer to it.
    ///
    /// # Errors
    /// When none comes within the time.
    pub fn udp_exchange(
        &self,
        to: SocketAddr,
        payload: &[u8],
        within: Duration,
    ) -> Result<Vec<u8>> {
        let opened = self.udp(within)?;
        let what = || format!("exchange a datagram of {} with {to}", self.address);
        opened.send_to(payload, to).during(what)?;
        let mut answer = vec![0; 65536];
        let (length, _) = opened.recv_from(&mut answer).during(what)?;
        answer.truncate(length);
        Ok(answer)
    }
}

impl From<&Pod> for Endpoint {
    fn from(pod: &Pod) -> Self {
        Self::new(pod.namespace(), pod.address())
    }
}

impl From<&Client> for Endpoint {
    fn from(client: &Client) -> Self {
        Self::new(client.namespace(), client.address().into())
    }
}

impl From<&Host> for Endpoint {
    fn from(host: &Host) -> Self {
        Self::new(host.namespace(), host.address().into())
    }
}
