//! Steps that are made to fail, or at which the process is killed (`CASULO_FAULT`).
