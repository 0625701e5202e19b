"""`perdure simulate`."""


def test_a_seed_is_replayed(perdure):
    ran = perdure("simulate", "1")
    assert ran.code == 0
    assert ran.lines[-1].endswith("every promise held")


def test_many_seeds_as_json(perdure):
    document = perdure("simulate", "1", "2", "--json").json
    assert (document["first"], document["count"], document["ok"], document["problem"]) == (1, 2, True, None)
    assert document["story"]
