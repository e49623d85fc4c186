//! Defences that are taken out, to show that a test fails without them (`CASULO_WITHOUT`).
