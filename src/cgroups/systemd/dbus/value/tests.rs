use super::*;
use proptest::prelude::*;

#[test]
fn values_are_aligned_as_the_specification_says() {
    for (value, expected) in [
        (Value::Bool(true), vec![1, 0, 0, 0]),
        (Value::text("ab"), vec![2, 0, 0, 0, b'a', b'b', 0]),
        (Value::Signature("a(sv)".into()), b"\x05a(sv)\0".to_vec()),
        (
            Value::variant(Value::Uint32(9)),
            vec![1, b'u', 0, 0, 9, 0, 0, 0],
        ),
        // The padding in front of the first element is not counted, and there without elements, too.
        (
            Value::Array("t".into(), vec![Value::Uint64(1)]),
            vec![8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
        ),
        (Value::Array("(sv)".into(), vec![]), vec![0; 8]),
        (
            Value::Struct(vec![Value::Byte(1), Value::Int16(-1)]),
            vec![1, 0, 0xff, 0xff],
        ),
    ] {
        let mut bytes = Vec::new();
        encode(&value, &mut bytes);
        assert_eq!(bytes, expected, "{value:?}");
    }
}

#[test]
fn signatures_split_into_complete_types() {
    for (signature, split) in [
        ("s", Some(("s", ""))),
        ("a(sv)t", Some(("a(sv)", "t"))),
        ("aas", Some(("aas", ""))),
        ("a{sv}u", Some(("a{sv}", "u"))),
        ("(s(ub))", Some(("(s(ub))", ""))),
        ("", None),
        ("a", None),
        ("(s", None),
        (")", None),
        ("e", None),
    ] {
        assert_eq!(split_type(signature), split, "{signature}");
    }
    assert_eq!(split_type(&"a".repeat(300)), None);
}

/// Values of every type, nested.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<u8>().prop_map(Value::Byte),
        any::<bool>().prop_map(Value::Bool),
        any::<i16>().prop_map(Value::Int16),
        any::<u16>().prop_map(Value::Uint16),
        any::<i32>().prop_map(Value::Int32),
        any::<u32>().prop_map(Value::Uint32),
        any::<i64>().prop_map(Value::Int64),
        any::<u64>().prop_map(Value::Uint64),
        (-1e9..1e9).prop_map(Value::Double),
        "[a-zä ]{0,9}".prop_map(Value::String),
        Just(Value::ObjectPath("/a/b".into())),
        Just(Value::Signature("a(sv)".into())),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(Value::variant),
            proptest::collection::vec(inner.clone(), 1..4).prop_map(Value::Struct),
            (inner, 0usize..4)
                .prop_map(|(value, n)| Value::Array(value.signature(), vec![value; n])),
        ]
    })
}

proptest! {
    #[test]
    fn values_come_back_as_written(value in any_value()) {
        let mut bytes = Vec::new();
        encode(&value, &mut bytes);
        let mut reader = Reader::new(&bytes);
        prop_assert_eq!(reader.value(&value.signature()), Some(value));
        prop_assert_eq!(reader.position(), bytes.len());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, signature in "[ybnqiuxtdsogva(){}]{0,12}") {
        let _ = Reader::new(&bytes).values(&signature);
    }
}
