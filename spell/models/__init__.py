"""What the platform answers, as frozen structs.

Money is whole micros (10^-6 USD), times are aware datetimes, ids are texts. Fields that this version does not know are
passed over, and texts of an enumeration (`status`, `code`) stay texts, so that a newer platform breaks nothing.
"""
