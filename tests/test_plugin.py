def test_try(kb, model, tokenizer):
    from knowledge_plugin import KnowledgePlugin
    p = KnowledgePlugin.for_model(model, kb)
    with p.attach(model, tokenizer) as (m, t):
        e = t("She saw Paris and New York today", "and Berlin", return_offsets_mapping=True)
        print(e, e.tokens(), e.word_ids(), tokenizer("She saw Paris and New York today", "and Berlin", return_offsets_mapping=True))
