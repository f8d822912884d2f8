//! The chunk layer: layout arithmetic, tag and index sectors, read and write plans, sealing and opening. No I/O.
