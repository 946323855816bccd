"""The verifier put to the proof: functions with bugs as libraries and chips had them, and right ones beside them."""
