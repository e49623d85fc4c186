//! `Go`, and the state documents that follow it. Init makes no JSON and interprets none.

use super::{Channel, Message};
use crate::error::{Code, Error, Result};

/// The most bytes of a document in one message: less than a socket's send buffer, which by default has 208 KiB.
const PIECE: usize = 1 << 16;

/// The state documents for the hooks in the container. One is empty if it has no hooks.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct StateDocuments {
    /// For createContainer hooks.
    pub create: Vec<u8>,
    /// For startContainer hooks.
    pub start: Vec<u8>,
}

impl Channel {
    /// Parent: sends `Go`, and then the documents in pieces of [`PIECE`] bytes; an empty document has no piece.
    ///
    /// # Errors
    /// `E_SYNC` with the errno of sending; also for a document of 4 GiB or more.
    pub(crate) fn send_go(&self, documents: &StateDocuments) -> Result<()> {
        let StateDocuments { create, start } = documents;
        self.send(&Message::Go {
            create_state: length(create)?,
            start_state: length(start)?,
        })?;
        let mut pieces = [create, start].into_iter().flat_map(|it| it.chunks(PIECE));
        pieces.try_for_each(|piece| self.send_with(piece, &[]))
    }

    /// Init: waits for `Go` and receives the documents. `None` if the parent has sent another message, or has left.
    ///
    /// # Errors
    /// `E_SYNC` for a socket error, or if the parent leaves before the last piece.
    pub(crate) fn receive_go(&self) -> Result<Option<StateDocuments>> {
        match self.receive()? {
            Some(Message::Go {
                create_state,
                start_state,
            }) => Ok(Some(StateDocuments {
                create: self.receive_document(create_state)?,
                start: self.receive_document(start_state)?,
            })),
            _ => Ok(None),
        }
    }

    fn receive_document(&self, length: u32) -> Result<Vec<u8>> {
        let mut buffer = vec![0u8; length as usize];
        for piece in buffer.chunks_mut(PIECE) {
            if self.receive_with::<0>(piece)?.0 != piece.len() {
                return Err(Error::new(
                    Code::Sync,
                    "the parent left before it sent a document",
                ));
            }
        }
        Ok(buffer)
    }
}

fn length(document: &[u8]) -> Result<u32> {
    u32::try_from(document.len())
        .map_err(|_too_long| Error::new(Code::Sync, "the state document is longer than 4 GiB"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::child::{fork, leave};
    use crate::sys::clone::Side;
    use crate::sys::forked::check_in_child;

    #[test]
    fn documents_may_be_longer_than_a_socket_holds() {
        check_in_child(|| {
            let (parent, init) = Channel::pair().map_err(|it| it.to_string())?;
            let long: Vec<u8> = (0..3_000_001_u32).map(|at| (at % 251) as u8).collect();
            let documents = StateDocuments {
                start: long[1..].to_vec(),
                create: long,
            };
            if let Side::Child = fork().map_err(|it| it.to_string())? {
                // Otherwise it would wait for ever for a reader that has given up.
                drop(init);
                leave(i32::from(parent.send_go(&documents).is_err()));
            }
            drop(parent);
            match init.receive_go().map_err(|it| it.to_string())? {
                Some(received) if received == documents => Ok(()),
                _ => Err("they are not the same".to_owned()),
            }
        });
    }

    #[test]
    fn no_documents_are_two_empty_ones_and_anything_else_is_no_go() {
        let (parent, init) = Channel::pair().expect("socketpair");
        parent.send_go(&StateDocuments::default()).expect("sent");
        let received = init.receive_go().expect("received");
        assert_eq!(received, Some(StateDocuments::default()));
        parent.send(&Message::HooksDone).expect("sent");
        assert_eq!(init.receive_go().expect("received"), None);
        drop(parent);
        assert_eq!(init.receive_go().expect("no error"), None);
    }
}
