//! Tests of the budgets.

use super::*;

const LIMIT: usize = 1024 * 1024;

fn everyone() -> Arc<Budget> {
    Arc::new(Budget::new(LIMIT))
}

fn connection(everyone: &Arc<Budget>, requests: Requests) -> Arc<ConnectionBuffers> {
    let peer = Arc::new(Budget::new(peer_limit(everyone.limit)));
    Arc::new(ConnectionBuffers::new(Arc::clone(everyone), peer, requests))
}

fn held(buffers: &Arc<ConnectionBuffers>, bytes: usize, class: Class) -> Option<Held> {
    let mut held = Held::nothing(buffers);
    held.grow_to(bytes, class).ok().map(|()| held)
}

#[test]
fn bytes_are_given_back_when_the_last_copy_of_them_is_dropped() {
    let everyone = everyone();
    let buffers = connection(&everyone, Requests::One);
    let text = held(&buffers, 100_000, Class::Answer).unwrap().attach(Bytes::from(vec![1; 100_000]));
    let copy = text.slice(5..10);
    drop(text);
    assert_eq!((everyone.used(), copy.as_ref()), (100_000, &[1, 1, 1, 1, 1][..]));
    drop(copy);
    assert_eq!((everyone.used(), buffers.peer.used(), buffers.connection.used()), (0, 0, 0));
}

#[test]
fn small_bodies_count_only_where_a_connection_can_have_many() {
    let everyone = everyone();
    let one = held(&connection(&everyone, Requests::One), UNCOUNTED, Class::Small);
    assert_eq!(everyone.used(), 0);
    let many = held(&connection(&everyone, Requests::Many), 10, Class::Small);
    assert_eq!(everyone.used(), 10);
    drop((one, many));
    assert_eq!(everyone.used(), 0);
}

#[test]
fn uploads_are_shed_first_and_small_bodies_last() {
    let everyone = everyone();
    let mut fillers = Vec::new();
    let mut fill = |parts: usize| {
        while everyone.used() < LIMIT / 8 * parts {
            fillers.push(held(&connection(&everyone, Requests::One), LIMIT / 8, Class::Small).unwrap());
        }
    };
    let fits = |class| held(&connection(&everyone, Requests::One), UNCOUNTED + 1, class).is_some();
    fill(3);
    assert_eq!([Class::Upload, Class::Large, Class::Small].map(fits), [true, true, true]);
    fill(4);
    assert_eq!([Class::Upload, Class::Large, Class::Small].map(fits), [false, true, true]);
    fill(6);
    assert_eq!([Class::Upload, Class::Large, Class::Small].map(fits), [false, false, true]);
    fill(8);
    assert_eq!([Class::Upload, Class::Large, Class::Small].map(fits), [false, false, false]);
    assert_eq!(everyone.refused(), 6);
}

#[test]
fn one_connection_and_one_peer_cannot_use_all_of_it() {
    let everyone = everyone();
    let peer = Arc::new(Budget::new(peer_limit(LIMIT)));
    let connect = || Arc::new(ConnectionBuffers::new(Arc::clone(&everyone), Arc::clone(&peer), Requests::Many));
    let mut kept = Vec::new();
    for _ in 0..4 {
        let buffers = connect();
        while let Some(more) = held(&buffers, 32 * 1024, Class::Small) {
            kept.push(more);
        }
    }
    assert_eq!(everyone.used(), LIMIT / 2);
    assert!(held(&connection(&everyone, Requests::Many), 32 * 1024, Class::Small).is_some(), "another peer");
}

#[test]
fn a_single_body_fits_however_large_it_is_and_grows() {
    let everyone = everyone();
    let buffers = connection(&everyone, Requests::One);
    let mut body = held(&buffers, LIMIT, Class::Large).unwrap();
    body.grow_to(3 * LIMIT, Class::Large).unwrap();
    body.grow_to(LIMIT, Class::Large).unwrap();
    assert_eq!(everyone.used(), 3 * LIMIT);
    assert!(held(&buffers, UNCOUNTED + 1, Class::Small).is_none());
}
